import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { Judge } from '@berth/testing-judge';
import type { Cluster } from '../cluster.ts';
import { haCluster, retry } from '../cluster.ts';

/** The shared cluster of three hosts, with a judge who is told of every request that is acknowledged. */
export interface Rig {
  readonly cluster: Cluster;
  readonly judge: Judge;
  /** h2, h3: not the manager. */
  readonly others: readonly [Host, Host];
  up(text: string): Promise<void>;
  down(stack: string): Promise<void>;
  /** Waits until the registry shows these nodes, by host name, with these statuses. */
  statuses(expected: Readonly<Record<string, string>>, withinMs?: number): Promise<void>;
}

export async function startRig(): Promise<Rig> {
  const cluster = await haCluster();
  const judge = new Judge(cluster);
  const [, second, third] = cluster.hosts;
  if (!second || !third) throw new Error('the shared cluster has three hosts');
  const rig: Rig = {
    cluster,
    judge,
    others: [second, third],
    async up(text) {
      const name = /^name: (\S+)$/mu.exec(text)?.[1] ?? 'unnamed';
      await cluster.berth(['up', '-f', cluster.compose(name, text)]);
      judge.promised(text);
    },
    async down(stack) {
      await cluster.berth(['down', stack, '--volumes']);
      judge.withdrawn(stack);
    },
    async statuses(expected, withinMs = 30_000) {
      await retry(withinMs, async () => {
        const nodes = await cluster.json<{ hostname: string; status: string }[]>(['node', 'ls']);
        const seen = Object.fromEntries(nodes.map(({ hostname, status }) => [hostname, status]));
        for (const [name, status] of Object.entries(expected)) {
          if (seen[name] !== status) throw new Error(`${name} is ${seen[name]}, not ${status}`);
        }
      });
    },
  };
  await makeWhole(rig);
  return rig;
}

/** A file that failed may have left something broken: the next one is judged by what it does itself. */
async function makeWhole({ cluster, others, statuses }: Rig): Promise<void> {
  const { lab, host: manager } = cluster;
  const off = others.filter(({ initPid }) => initPid === undefined);
  const stacks = await cluster.json<{ name: string; static: boolean; removing: boolean }[]>(['stacks']);
  const left = stacks.filter((stack) => !stack.static);
  if (off.length + lab.faults.length + left.length === 0) return;
  await lab.heal(...cluster.hosts);
  const [a, b] = others;
  for (const [from, to] of [
    [a, b],
    [a, manager],
    [b, manager],
  ] as const)
    await lab.mend(from, to);
  for (const host of off) await host.start();
  await statuses({ [a.name]: 'ready', [b.name]: 'ready' }, 60_000);
  for (const { name } of others) await cluster.tryBerth(['node', 'activate', name]);
  for (const { name } of left) await cluster.tryBerth(['down', name, '--volumes', '--timeout', '60s']);
}

/** The long form of every test. */
export const full = Boolean(process.env['BERTH_FULL']);

/** How many rounds a fault gets: few in `npm test`, all under BERTH_FULL. */
export function rounds(few: number, all: number): number {
  return full ? all : few;
}

/** A stack to disturb: replicas that answer once they are healthy, and one task on every host to ask from. */
export function webStack(name: string, replicas: number): string {
  return `
name: ${name}
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www"]
    expose: ["80"]
    stop_signal: SIGKILL
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 1s }
    deploy: { replicas: ${replicas} }
  everywhere:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;
}

/** The same with a container on every host that `startLoads` calls from. */
export function loadedStack(name: string, replicas: number): string {
  return `${webStack(name, replicas)}
  client:
    image: berth/guestbook:dev
    entrypoint: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;
}

/** Kills a host's engine, and starts it again after a while, as a supervisor would. */
export async function crashEngine(host: Host): Promise<void> {
  await host.killEngine();
  await sleep(2_000);
  await host.startEngine();
}
