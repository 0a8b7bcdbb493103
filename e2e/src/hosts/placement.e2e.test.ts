import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { retry } from '../cluster.ts';
import type { Rig } from './rig.ts';
import { startRig } from './rig.ts';

// Where tasks go, and how they leave: spread, drained, pinned to a volume, removed while a host is off.
let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterEach(async () => {
  const { cluster, judge } = rig;
  for (const host of cluster.hosts) await cluster.tryBerth(['node', 'activate', host.name]);
  for (const stack of await cluster.json<{ name: string; static: boolean }[]>(['stack', 'ls'])) {
    if (!stack.static) await rig.down(stack.name);
  }
  await judge.settled();
});

interface TaskLine {
  readonly task: { readonly service: string; readonly slot: number; readonly nodeId: string; readonly desired: string };
  readonly status?: { readonly containerId: string };
}

const shop = `
name: shop
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www"]
    expose: ["80"]
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 1s }
    deploy: { replicas: 6 }
  redis:
    image: busybox:latest
    command: ["sh", "-c", "cat /data/kept 2>/dev/null; exec sleep 100000"]
    stop_signal: SIGKILL
    volumes: ["data:/data"]
    deploy: { placement: { constraints: ["node.role == worker"] } }
  each:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
volumes: { data: {} }
`;

/** Host by name → number of a service's running containers, by Docker's own word. */
async function spread(service: string): Promise<number[]> {
  const counts = rig.cluster.hosts.map(async (host) => (await running(host, service)).length);
  return Promise.all(counts);
}

async function running(host: Host, service: string): Promise<string[]> {
  const filters = ['--filter', 'label=berth.stack=shop', '--filter', `label=berth.service=${service}`];
  return (await host.docker(['ps', '--quiet', ...filters])).split('\n').filter(Boolean);
}

async function tasksOf(service: string): Promise<TaskLine[]> {
  const tasks = await rig.cluster.json<TaskLine[]>(['ps', 'shop']);
  return tasks.filter(({ task }) => task.service === service);
}

/** New connections from a container, the name resolved anew for each, none tried twice; until it is told to end. */
async function load(host: Host): Promise<() => Promise<{ done: number; failed: string[] }>> {
  const [container = ''] = await running(host, 'each');
  const script =
    'rm -f /end; while [ ! -e /end ]; do wget -q -T 2 -O /dev/null http://web/ && echo ok || echo "failed $(date +%T)"; usleep 20000; done';
  const output = host.docker(['exec', container, 'sh', '-c', script]);
  return async () => {
    await host.docker(['exec', container, 'touch', '/end']);
    const lines = (await output).split('\n').filter(Boolean);
    return { done: lines.length, failed: lines.filter((line) => line !== 'ok') };
  };
}

describe('placement over three hosts', () => {
  it('spreads replicas, and a drain under load loses no connection', async ({ task }) => {
    const { cluster, judge } = rig;
    const [manager, second, third] = cluster.hosts as readonly [Host, Host, Host];
    await rig.up(shop);
    expect(await spread('web')).toEqual([2, 2, 2]);
    expect(await spread('each')).toEqual([1, 1, 1]);
    await judge.holds();
    const startedAt = performance.now();
    const ends = await Promise.all([load(manager), load(second)]);
    await sleep(2_000);
    await cluster.berth(['node', 'drain', third.name]);
    const drainMs = Math.round(performance.now() - startedAt - 2_000);
    expect(await running(third, 'web')).toEqual([]);
    expect(await running(third, 'each')).toEqual([]);
    await sleep(2_000);
    const results = await Promise.all(ends.map((end) => end()));
    const seconds = (performance.now() - startedAt) / 1_000;
    const connections = results.reduce((sum, { done }) => sum + done, 0);
    recordFigures(task, { drainMs, connections, perSecond: Math.round(connections / seconds) });
    expect(results.flatMap(({ failed }) => failed)).toEqual([]);
    expect((await spread('web')).reduce((a, b) => a + b, 0)).toBe(6);
    await cluster.berth(['node', 'activate', third.name]);
    await retry(20_000, async () => expect(await spread('each')).toEqual([1, 1, 1]));
  });

  it('a service whose volume is on a host that is off waits with that reason; down and up of the stack go on without it', async () => {
    const { cluster } = rig;
    await rig.up(shop);
    const [redis] = await tasksOf('redis');
    const nodes = await cluster.json<{ id: string; hostname: string }[]>(['node', 'ls']);
    const home = cluster.hosts.find(
      ({ name }) => name === nodes.find(({ id }) => id === redis?.task.nodeId)?.hostname,
    ) as Host;
    const [container = ''] = await running(home, 'redis');
    await home.docker(['exec', container, 'sh', '-c', 'echo precious > /data/kept; sync']);
    await home.kill();
    await rig.statuses({ [home.name]: 'lost' });
    const reason = `volume shop_data lives on node ${home.name} (lost)`;
    await retry(10_000, async () => expect(await cluster.berth(['why', 'shop_redis.1'])).toContain(reason));
    await retry(20_000, async () => expect((await spread('web')).reduce((a, b) => a + b, 0)).toBe(6));

    const down = await cluster.tryBerth(['down', 'shop', '--timeout', '15s']);
    expect(down.stderr).toContain(home.name);
    // redis can't run: up says so, and what can run does.
    const up = await cluster.tryBerth(['up', '-f', cluster.compose('shop', shop), '--timeout', '30s']);
    expect(up.code).not.toBe(0);
    expect(`${up.stdout}${up.stderr}`).toContain(reason);
    expect((await spread('web')).reduce((a, b) => a + b, 0)).toBe(6);

    await home.start();
    await rig.statuses({ [home.name]: 'ready' });
    await retry(60_000, async () => {
      expect(await running(home, 'redis')).toHaveLength(1);
      expect((await spread('web')).reduce((a, b) => a + b, 0)).toBe(6);
      expect(await spread('each')).toEqual([1, 1, 1]);
    });
    const [again = ''] = await running(home, 'redis');
    expect(await home.docker(['exec', again, 'cat', '/data/kept'])).toContain('precious');
    const stacks = await cluster.json<{ name: string }[]>(['stack', 'ls']);
    expect(stacks.filter(({ name }) => name === 'shop')).toHaveLength(1);
  });

  it('a label that no longer meets a constraint moves the task', async () => {
    const { cluster } = rig;
    const [, second, third] = cluster.hosts as readonly [Host, Host, Host];
    await cluster.berth(['node', 'label', second.name, 'disk=ssd']);
    const text = `
name: shop
services:
  web:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { placement: { constraints: ["node.labels.disk == ssd"] } }
`;
    await rig.up(text);
    expect(await running(second, 'web')).toHaveLength(1);
    await cluster.berth(['node', 'label', third.name, 'disk=ssd']);
    await cluster.berth(['node', 'label', second.name, 'disk=hdd']);
    await retry(20_000, async () => {
      expect(await running(second, 'web')).toEqual([]);
      expect(await running(third, 'web')).toHaveLength(1);
    });
  });
});
