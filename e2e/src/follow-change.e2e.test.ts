import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeEvent } from '@berth/changes';
import { decodeChangeEvent } from '@berth/changes';
import { Change as RegistryChange } from '@berth/contracts/registry';
import { Change as SchedulerChange } from '@berth/contracts/scheduler';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { retry, startCluster } from './cluster.ts';
import { subscriberContext } from './subscriber-context.ts';
import { helloService } from './web-image.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

interface Seen {
  readonly event: ChangeEvent;
  readonly atMs: number;
}

/** `berth events -f` as an outside subscriber with a certificate of its own. */
async function follow(): Promise<{ readonly seen: Seen[]; end(): Promise<void> }> {
  const env = { BERTH_CONFIG_DIR: await subscriberContext(cluster), NO_COLOR: '1' };
  const child = cluster.host.spawn([process.execPath, cluster.cli, 'events', '-f', '--output', 'json'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const seen: Seen[] = [];
  if (child.stdout) {
    createInterface(child.stdout).on('line', (line) => {
      seen.push({ event: decodeChangeEvent(Buffer.from(line)), atMs: performance.now() });
    });
  }
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  return {
    seen,
    end: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Events of a key that hold its value, in the order of their arrival. */
const of = (seen: readonly Seen[], owner: string, key: (key: string) => boolean) =>
  seen.flatMap(({ event, atMs }) =>
    event.owner === owner
      ? event.changes
          .filter((change) => key((change as { key: string }).key))
          .map((change) => ({ event, change, atMs }))
      : [],
  );

interface Key {
  readonly key: string;
  readonly mod_revision: number;
  readonly create_revision: number;
}

/** Reads etcd as root, past all of Berth. */
async function etcdKeys(prefix: string): Promise<Key[]> {
  const certs = join(cluster.stateDir, 'certs/etcd-client-bootstrap');
  const out = await cluster.host.exec(
    [
      ...['etcdctl', '--endpoints', `https://${cluster.host.address}:7441`, '--write-out', 'json'],
      ...['--cacert', `${certs}/ca.pem`, '--cert', `${certs}/cert.pem`, '--key', `${certs}/key.pem`],
      ...['get', '--prefix', prefix, '--keys-only'],
    ],
    { env: { ETCDCTL_API: '3' } },
  );
  const { kvs = [] } = JSON.parse(out) as { kvs?: Key[] };
  return kvs.map((kv) => ({ ...kv, key: Buffer.from(kv.key, 'base64').toString('utf8') }));
}

/** Looks a name up in a container every 50 ms; when its answer was first this one. */
async function answeredAt(container: string, name: string, addresses: readonly string[]): Promise<number> {
  return retry(20_000, async () => {
    const { stdout } = await cluster.inContainer(container, ['nslookup', '-type=a', name, '127.0.0.11']);
    const found = [...new Set(stdout.match(/198\.19\.\d+\.\d+/gu) ?? [])].sort();
    if (found.join(' ') !== [...addresses].sort().join(' '))
      throw new Error(`${name} is ${found.join(' ') || 'unknown'}`);
    return performance.now();
  });
}

const file = (replicas: number) => `
name: follow
services:
  web:
${helloService}
    deploy: { replicas: ${replicas} }
`;

describe('one change', () => {
  it('goes from berth up to a revision in etcd, to an event, to the DNS table of the agent', async ({ task }) => {
    await cluster.berth(['up', '-f', cluster.compose('follow', file(1))]);
    const [caller = ''] = await cluster.containers('follow', 'web');
    const { seen, end } = await follow();
    try {
      // It listens when it hears something: another stack comes and goes.
      await retry(30_000, async () => {
        await cluster.berth([
          'up',
          '-f',
          cluster.compose(
            'noise',
            'services:\n  a:\n    image: busybox\n    command: ["sleep", "9999"]\n    stop_signal: SIGKILL\n',
          ),
          '-p',
          'noise',
          '--detach',
        ]);
        await cluster.berth(['down', 'noise']);
        if (seen.length === 0) throw new Error('the subscriber hears nothing');
      });

      const startedAt = performance.now();
      const up = await cluster.json<{
        stack: { id: string; version: number };
        tasks: { task: { id: string; slot: number } }[];
      }>(['up', '-f', cluster.compose('follow', file(2))]);
      const added = up.tasks.find((view) => view.task.slot === 2)?.task.id ?? '';
      expect(added).not.toBe('');

      // The endpoint that the new task announced: one key in etcd, at one revision.
      const [endpoint] = await retry(10_000, async () => {
        const keys = (await etcdKeys('registry/endpoint/')).filter(({ key }) => key.endsWith(`/${added}`));
        if (keys.length !== 1) throw new Error(`${keys.length} endpoints of the new task`);
        return keys;
      });
      const revision = endpoint?.mod_revision ?? 0;

      // The event says the same thing, at the same revision, once.
      const told = await retry(10_000, async () => {
        const events = of(seen, 'registry', (key) => key.startsWith('endpoint/') && key.endsWith(`/${added}`));
        const last = events.at(-1);
        if (last?.event.revision !== revision) throw new Error(`no event of revision ${revision} yet`);
        return last;
      });
      const change = RegistryChange.fromJSON(told.change);
      expect(endpoint?.key).toBe(`registry/${change.key}`);
      expect(change.resource).toMatchObject({
        $case: 'endpoint',
        value: { taskId: added, stackId: up.stack.id, service: 'web', taskName: 'web.2', healthy: true },
      });
      const ids = seen.map(({ event }) => `${event.owner} ${event.revision} ${event.scope} ${event.part}`);
      expect(new Set(ids).size).toBe(ids.length);
      expect(told.event.scope).toBe(change.scopes[0]);
      expect(told.event.prev).toBeLessThan(revision);

      // The container's own resolver gives that address, and the one before it.
      const ip = change.resource?.$case === 'endpoint' ? change.resource.value.ip : '';
      const first = await addressOf(caller);
      const resolvedAt = await answeredAt(caller, 'web', [first, ip]);
      await answeredAt(caller, 'web.2', [ip]);

      // And before it: the task, from the spec that was accepted, each step an event of the scheduler's at its revision.
      const tasks = of(seen, 'scheduler', (key) => key === `task/${added}`);
      const states = tasks.map((each) => SchedulerChange.fromJSON(each.change).resource);
      expect(states.every((resource) => resource?.$case === 'task')).toBe(true);
      const stack = of(seen, 'scheduler', (key) => key === `stack/${up.stack.id}`).map(({ event }) => event.revision);
      expect(Math.min(...stack)).toBeLessThanOrEqual(tasks[0]?.event.revision ?? 0);
      const [record] = await etcdKeys(`scheduler/task/${added}`);
      expect(tasks.map(({ event }) => event.revision)).toContain(record?.create_revision);
      expect(tasks[0]?.event.revision ?? Number.POSITIVE_INFINITY).toBeLessThan(revision);
      recordFigures(task, {
        'etcd revision': revision,
        'event ms after up': Math.round(told.atMs - startedAt),
        'resolved ms after up': Math.round(resolvedAt - startedAt),
        events: seen.length,
      });
    } finally {
      await end();
    }
  });
});

describe('berth events', () => {
  it('shows a person what happens to one stack, by kind, and ends after as much as was asked for', async () => {
    const running = cluster.tryBerth(['events', '--stack', 'follow', '--kind', 'task,endpoint', '--count', '3'], {
      signal: AbortSignal.timeout(60_000),
    });
    // Whenever it has begun to listen, something changes after it.
    let replicas = 2;
    const ended = running.then(() => true);
    while (!(await Promise.race([ended, sleep(100)]))) {
      replicas = replicas === 2 ? 3 : 2;
      await cluster.berth(['up', '-f', cluster.compose('follow', file(replicas))]);
    }
    const { code, stdout, stderr } = await running;
    expect(code).toBe(0);
    expect(stderr).toBe('following events; Ctrl-C ends it\n');
    const lines = stdout.trim().split('\n');
    expect(lines.length).toBeGreaterThanOrEqual(3);
    for (const line of lines) {
      expect(line).toMatch(
        /^(scheduler \d+ task\/\w+ (follow_web\.3 [a-z]+|gone)|registry \d+ endpoint\/\w+\/\w+ (web\.3 198\.19\.\d+\.\d+ (not )?healthy|gone))$/u,
      );
    }
  });

  it('names what it does not know, and the remedy', async () => {
    const { code, stderr } = await cluster.tryBerth(['events', '-f', '--kind', 'pod']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/no kind pod[\s\S]*remedy: use one of: stack/u);
  });
});

async function addressOf(container: string): Promise<string> {
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  return (await cluster.docker(['inspect', '--format', format, container])).trim();
}
