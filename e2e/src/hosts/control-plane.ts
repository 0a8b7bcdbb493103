import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { retry } from '../cluster.ts';

/** HTTP ports of the services' first replicas; second ones have 100 more. */
const httpPorts = { registry: 7403, scheduler: 7413, 'network-manager': 7423 } as const;
type ServiceName = keyof typeof httpPorts;

/** The control plane of a manager, two replicas of each service, seen and hurt from outside Berth: by its containers and what they say of themselves. */
export class ControlPlane {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /** The static task (`scheduler`, `scheduler-2`) that leads its service. */
  async leader(service: 'registry' | 'scheduler'): Promise<string> {
    return retry(30_000, async () => {
      for (const { name, port } of replicasOf(service)) {
        const metrics = await this.#get(port, '/metrics').catch(() => '');
        if (new RegExp(`^berth_${service}_leading\\{.*\\} 1$`, 'mu').test(metrics)) return name;
      }
      throw new Error(`no replica of ${service} leads`);
    });
  }

  /** Waits until every replica of every service says that it is ready. */
  async ready(): Promise<void> {
    await retry(60_000, async () => {
      for (const service of Object.keys(httpPorts) as ServiceName[]) {
        for (const { port } of replicasOf(service)) await this.#get(port, '/readyz');
      }
    });
  }

  /** Kills a static task, and again whenever its agent has started it, so that it stays down. */
  async keepKilling(name: string, forMs: number): Promise<void> {
    const until = performance.now() + forMs;
    while (performance.now() < until) {
      const pid = await this.#pidOf(name);
      if (pid !== undefined) await this.#host.tryExec(['kill', '-9', pid]);
      await sleep(200);
    }
  }

  /** Keeps etcd, NATS and all services down, as `keepKilling` does, until `end` is called. */
  async switchOff(): Promise<{ end(): Promise<void> }> {
    const killAll = 'ids=$(docker ps --quiet --filter label=berth.static=true) && [ -z "$ids" ] || docker kill $ids';
    const loop = this.#host.spawn(['sh', '-c', `while :; do ${killAll}; sleep 0.2; done`], { stdio: 'ignore' });
    await sleep(1_000);
    return {
      end: () =>
        new Promise((resolve) => {
          loop.once('close', () => resolve());
          loop.kill('SIGKILL');
        }),
    };
  }

  /** Freezes a static task: it holds its connections and says nothing. */
  async freeze(name: string, forMs: number): Promise<void> {
    const pid = await this.#pidOf(name);
    if (pid === undefined) throw new Error(`${name} does not run`);
    await this.#host.exec(['kill', '-STOP', pid]);
    await sleep(forMs);
    await this.#host.exec(['kill', '-CONT', pid]);
  }

  /** Process of a static task as its host sees it. */
  async #pidOf(name: string): Promise<string | undefined> {
    const filters = ['--filter', 'label=berth.static=true', '--filter', `label=berth.service=${name}`];
    const [id] = (await this.#host.docker(['ps', '--quiet', '--no-trunc', ...filters])).split('\n').filter(Boolean);
    if (id === undefined) return undefined;
    const found = await this.#host.tryExec(['docker', 'inspect', '--format', '{{.State.Pid}}', id]);
    const pid = found.stdout.trim();
    return found.code === 0 && pid !== '0' ? pid : undefined;
  }

  /** What a service answers on its host's loopback; rejects unless that is 200. */
  async #get(port: number, path: string): Promise<string> {
    const script = `
      const answer = await fetch('http://127.0.0.1:${port}${path}', { signal: AbortSignal.timeout(2000) });
      console.log(await answer.text());
      if (!answer.ok) process.exit(1);`;
    return this.#host.exec([process.execPath, '--input-type=module', '-e', script]);
  }
}

function replicasOf(service: ServiceName): { readonly name: string; readonly port: number }[] {
  return [
    { name: service, port: httpPorts[service] },
    { name: `${service}-2`, port: httpPorts[service] + 100 },
  ];
}
