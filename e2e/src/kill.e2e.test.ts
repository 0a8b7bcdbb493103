import { setTimeout as sleep } from 'node:timers/promises';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { retry, startCluster } from './cluster.ts';
import { helloService } from './web-image.ts';

let cluster: Cluster;
const app = (note: string) => `
name: app
services:
  web:
${helloService}
    deploy: { replicas: 3 }
  caller:
    image: berth/guestbook:dev
    entrypoint: ["sleep", "100000"]
    stop_signal: SIGKILL
  note:
    image: busybox:latest
    command: ["sh", "-c", "trap exit TERM; echo ${note}; while true; do sleep 0.2; done"]
  crasher:
    image: busybox:latest
    command: ["sh", "-c", "trap 'exit 7' USR1; while true; do sleep 0.1; done"]
    restart: always
    stop_signal: SIGKILL
`;

beforeAll(async () => {
  cluster = await startCluster();
  await cluster.berth(['up', '-f', cluster.compose('app', app('first'))]);
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

/** Ids, start times and restart counts of the application's containers, but for the ones that a test changes. */
const untouched = async () => {
  const ids = (await Promise.all(['web', 'caller'].map((service) => cluster.containers('app', service)))).flat();
  return (await cluster.docker(['inspect', '--format', '{{.Id}} {{.State.StartedAt}} {{.RestartCount}}', ...ids]))
    .trim()
    .split('\n')
    .sort();
};

interface LookUps {
  readonly count: number;
  readonly failed: number;
  readonly slowestMs: number;
}

/** Looks `web` up every 100 ms through libc in a container, until stopped. */
const startLookUps = async () => {
  const [caller = ''] = await cluster.containers('app', 'caller');
  const script = `
    const { lookup } = require('node:dns').promises;
    let count = 0, failed = 0, slowestMs = 0; const under = new Set();
    const timer = setInterval(() => {
      const at = performance.now(); count++;
      const one = lookup('web', { all: true, family: 4 }).then((a) => { if (a.length !== 3) failed++; }, () => { failed++; })
        .then(() => { slowestMs = Math.max(slowestMs, performance.now() - at); under.delete(one); });
      under.add(one);
    }, 100);
    process.stdin.on('end', async () => { clearInterval(timer); await Promise.all(under);
      console.log(JSON.stringify({ count, failed, slowestMs: Math.round(slowestMs) })); process.exit(0); }).resume();`;
  const child = cluster.host.spawn(['docker', 'exec', '--interactive', caller, 'node', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()));
  return async (): Promise<LookUps> => {
    child.stdin?.end();
    await ended;
    return JSON.parse(out) as LookUps;
  };
};

const containerOf = async (part: string) => {
  if (part === 'agent') return 'berth-agent';
  const filters = ['--filter', 'label=berth.static=true', '--filter', `label=berth.service=${part}`];
  return (await cluster.docker(['ps', '--quiet', '--no-trunc', ...filters])).trim();
};

const killed = async (part: string) => {
  const container = await containerOf(part);
  const pid = (await cluster.docker(['inspect', '--format', '{{.State.Pid}}', container])).trim();
  await cluster.host.exec(['kill', '-9', pid]);
  return { container, pid };
};

/** By itself, without a hand of ours. */
const back = async (part: string, before: { pid: string }) => {
  await retry(60_000, async () => {
    const container = await containerOf(part);
    const pid = (await cluster.docker(['inspect', '--format', '{{.State.Pid}}', container])).trim();
    if (pid === '0' || pid === before.pid) throw new Error(`${part} is not back`);
  });
};

describe.each(['agent', 'scheduler', 'registry', 'network-manager', 'nats', 'etcd'])('kill -9 of %s', (part) => {
  it('touches no application container, no name fails, it is back by itself, and a new up works', async ({ task }) => {
    const before = await untouched();
    const stopLookUps = await startLookUps();
    await sleep(1_000);
    const startedAt = performance.now();
    const victim = await killed(part);
    await back(part, victim);
    const backMs = performance.now() - startedAt;
    await sleep(3_000);
    const lookUps = await stopLookUps();
    recordFigures(task, {
      lookups: lookUps.count,
      'lookups failed': lookUps.failed,
      'slowest lookup ms': lookUps.slowestMs,
      'back after ms': Math.round(backMs),
    });
    expect(lookUps.count).toBeGreaterThan(30);
    expect(lookUps.failed).toBe(0);
    expect(lookUps.slowestMs).toBeLessThanOrEqual(3_000);
    expect(await untouched()).toEqual(before);
    await retry(30_000, () =>
      cluster.berth(['up', '-f', cluster.compose('app', app(`after ${part}`)), '--timeout', '60s']),
    );
    expect(await untouched()).toEqual(before);
  });
});

describe('after the agent was killed', () => {
  it('a container that exits is seen restarting with the next run', async () => {
    interface View {
      readonly task: { readonly service: string };
      readonly status: { readonly run: number; readonly state: number };
    }
    const crasher = async () => {
      const tasks = await cluster.json<View[]>(['ps', 'app', '--service', 'crasher']);
      return tasks[0]?.status ?? { run: 0, state: 0 };
    };
    const before = await crasher();
    await back('agent', await killed('agent'));
    const [container = ''] = await cluster.containers('app', 'crasher');
    await cluster.docker(['kill', '--signal', 'USR1', container]);
    await expect.poll(async () => (await crasher()).run, { timeout: 30_000 }).toBe(before.run + 1);
    const [next = ''] = await cluster.containers('app', 'crasher');
    expect(next).not.toBe(container);
  });
});
