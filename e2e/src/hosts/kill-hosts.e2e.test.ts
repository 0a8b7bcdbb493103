import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { Judge } from '@berth/testing-judge';
import type { TestContext } from 'vitest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { retry, startCluster } from '../cluster.ts';
import { startLoads } from './load.ts';
import type { Rig } from './rig.ts';
import { crashEngine, loadedStack, startRig } from './rig.ts';

// A part is killed while containers on two hosts call those on all three, each by name and over a new connection.
const stack = 'kills';
const perSecond = 30;
const text = loadedStack(stack, 6);
/** What a kill brings with it goes on for longer than the part itself is away: leases, reconnects. */
const aftermathMs = 8_000;

const loadFrom = (hosts: readonly Host[]) =>
  startLoads({ hosts, stack, service: 'client' }, { url: 'http://web/', perSecond });

const record = (task: TestContext['task'], what: string, load: { count: number; slowestMs: number }, backMs: number) =>
  recordFigures(task, {
    [`${what}: connections`]: load.count,
    [`${what}: slowest ms`]: load.slowestMs,
    [`${what}: back after ms`]: Math.round(backMs),
  });

describe('under traffic between hosts', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
    await rig.up(text);
    await rig.judge.settled();
  });
  afterAll(() => rig.down(stack));

  const pidOf = async (host: Host, part: string): Promise<string> => {
    const filters = ['--filter', 'label=berth.static=true', '--filter', `label=berth.service=${part}`];
    const id = part === 'agent' ? 'berth-agent' : (await host.docker(['ps', '--quiet', ...filters])).trim();
    return (await host.docker(['inspect', '--format', '{{.State.Pid}}', id])).trim();
  };

  it.for([
    ['agent', 0],
    ['agent', 1],
    ['nats', 0],
    ['etcd', 0],
  ] as const)(
    'kill -9 of %s on host %i: no container stops, no look-up and no connection fails',
    async ([part, index], { task }) => {
      const { cluster, judge, others } = rig;
      const host = cluster.hosts[index] as Host;
      const before = await judge.snapshot();
      const load = await loadFrom(others);
      const killed = await pidOf(host, part);
      const killedAt = performance.now();
      await host.exec(['kill', '-9', killed]);
      await retry(60_000, async () => expect(['0', killed]).not.toContain(await pidOf(host, part)));
      const backMs = performance.now() - killedAt;
      await sleep(aftermathMs);
      const result = await load.stop();
      record(task, `${part} on ${host.name}`, result, backMs);
      expect(result.failures).toEqual([]);
      await judge.untouched(before);
      await rig.statuses({ h1: 'ready', h2: 'ready', h3: 'ready' });
      await judge.settled();
    },
  );

  // The engine ends its containers itself when it starts again: callers of these may fail, nobody else.
  it('kill -9 of dockerd without live-restore: names go on, and all connections but to its own containers', async ({
    task,
  }) => {
    const { cluster, judge, others } = rig;
    const [victim] = others;
    const rest = cluster.hosts.filter((host) => host !== victim);
    const before = await judge.snapshot(rest);
    const lost = await addressesOn(victim);
    const load = await loadFrom(rest);
    const killedAt = performance.now();
    await crashEngine(victim);
    const backMs = performance.now() - killedAt;
    await rig.statuses({ h1: 'ready', h2: 'ready', h3: 'ready' });
    await judge.settled();
    await sleep(aftermathMs);
    const result = await load.stop();
    record(task, 'dockerd without live-restore', result, backMs);
    recordFigures(task, { 'connections failed': result.failures.length });
    expect(lost).toHaveLength(2);
    expect(result.failures.filter((each) => !lost.some((ip) => each.includes(`request to ${ip}:`)))).toEqual([]);
    await judge.untouched(before);
  });
});

describe('under traffic between hosts whose engines keep their containers', () => {
  let cluster: Cluster;
  let judge: Judge;
  beforeAll(async () => {
    cluster = await startCluster({ hosts: 3, dockerdArgs: ['--live-restore'] });
    judge = new Judge(cluster);
    await cluster.berth(['up', '-f', cluster.compose(stack, text)]);
    judge.promised(text);
    await judge.settled();
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  it('kill -9 of dockerd: no container stops, no look-up and no connection from other hosts fails', async ({
    task,
  }) => {
    const victim = cluster.hosts[1] as Host;
    const before = await judge.snapshot();
    const load = await loadFrom(cluster.hosts.filter((host) => host !== victim));
    const killedAt = performance.now();
    await crashEngine(victim);
    const backMs = performance.now() - killedAt;
    await sleep(aftermathMs);
    const result = await load.stop();
    record(task, 'dockerd with live-restore', result, backMs);
    expect(result.failures).toEqual([]);
    await judge.untouched(before);
    await judge.settled();
  });
});

async function addressesOn(host: Host): Promise<string[]> {
  const filters = ['--filter', `label=berth.stack=${stack}`, '--filter', 'label=berth.service=web'];
  const ids = (await host.docker(['ps', '--quiet', ...filters])).split('\n').filter(Boolean);
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  return (await host.docker(['inspect', '--format', format, ...ids])).split('\n').filter(Boolean);
}
