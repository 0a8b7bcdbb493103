import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLoads } from './load.ts';
import type { Rig } from './rig.ts';
import { loadedStack, rounds, startRig } from './rig.ts';

const stack = 'drained';
/** In all, from containers on the two hosts that are not drained. */
const connectionsPerSecond = 50;
const text = loadedStack(stack, 6);

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  await rig.up(text);
});
afterAll(async () => {
  for (const { name } of rig.others) await rig.cluster.tryBerth(['node', 'activate', name]);
  await rig.cluster.tryBerth(['down', stack, '--volumes']);
});

describe('drain', () => {
  it(`under ${connectionsPerSecond} new connections/s: replacements first, none fails, and the global tasks come back with the host`, async ({
    task,
  }) => {
    const { judge, cluster, others } = rig;
    for (let round = 0; round < rounds(1, 4); round++) {
      await judge.settled();
      const drained = others[(round + 1) % 2] ?? others[0];
      const rest = cluster.hosts.filter((host) => host !== drained && host.initPid !== undefined).slice(0, 2);
      const untouched = await judge.snapshot(rest);
      const load = await startLoads(
        { hosts: rest, stack, service: 'client' },
        { url: 'http://web/', perSecond: connectionsPerSecond },
      );
      const began = performance.now();
      await cluster.berth(['node', 'drain', drained.name, '--timeout', '60s']);
      const drainedMs = Math.round(performance.now() - began);
      judge.excluded(drained);
      await judge.settled();
      expect(await judge.snapshot([drained])).toEqual([]);
      await cluster.berth(['node', 'activate', drained.name]);
      judge.included(drained);
      await judge.settled();
      const { count, slowestMs, failures } = await load.stop();
      recordFigures(task, {
        [`drained ms (round ${round + 1})`]: drainedMs,
        [`connections (round ${round + 1})`]: count,
        [`slowest ms (round ${round + 1})`]: slowestMs,
      });
      expect(failures).toEqual([]);
      expect(count).toBeGreaterThan((drainedMs / 1000) * connectionsPerSecond * 0.8);
      await judge.untouched(untouched);
      if (round + 1 < rounds(1, 4)) {
        // So that the host drained next has something to lose.
        await rig.up(text.replace('replicas: 6', 'replicas: 9'));
        await judge.settled();
        await rig.up(text);
      }
    }
  });
});
