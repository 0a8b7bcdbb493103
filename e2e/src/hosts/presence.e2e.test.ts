import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ControlPlane } from './control-plane.ts';
import type { Rig } from './rig.ts';
import { startRig, webStack } from './rig.ts';

interface NodeLine {
  readonly hostname: string;
  readonly status: string;
}

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  await rig.up(webStack('presence', 6));
}, 600_000);
afterAll(async () => {
  await rig.cluster.lab.heal(...rig.others);
  await rig.down('presence');
});

const containersOn = async (host: Host) => {
  const filters = ['--filter', 'label=berth.stack=presence'];
  return (await host.docker(['ps', '--quiet', '--no-trunc', ...filters])).trim().split('\n').sort();
};

it('a host that is powered off is lost when its lease is over; back, it is ready again', async ({ task }) => {
  const [, victim] = rig.others;
  await victim.kill();
  const start = performance.now();
  await rig.statuses({ [victim.name]: 'lost' }, 15_000);
  const lostMs = Math.round(performance.now() - start);
  recordFigures(task, { 'power-off to lost, as `node ls` shows it': `${lostMs} ms` });
  expect(lostMs).toBeLessThan(8_000);
  await victim.start();
  await rig.statuses({ [victim.name]: 'ready' }, 60_000);
  // Its global task comes back to it.
  await rig.judge.settled();
});

it('the brake outlives the leader that put it on', async () => {
  const { cluster, others } = rig;
  const plane = new ControlPlane(cluster.host);
  const before = await containersOn(cluster.host);
  await cluster.lab.partition(...others);
  await rig.statuses(Object.fromEntries(others.map(({ name }) => [name, 'suspect'])));
  // The lease is over before the leader dies.
  await sleep(4_000);
  await plane.keepKilling(await plane.leader('registry'), 5_000);
  const seen = new Map<string, Set<string>>();
  for (const end = performance.now() + 8_000; performance.now() < end; await sleep(500)) {
    for (const { hostname, status } of await cluster.json<NodeLine[]>(['node', 'ls'])) {
      seen.set(hostname, (seen.get(hostname) ?? new Set()).add(status));
    }
  }
  for (const { name } of others) expect([...(seen.get(name) ?? [])]).toEqual(['suspect']);
  expect(await containersOn(cluster.host)).toEqual(before);
  await cluster.lab.heal(...others);
  await rig.statuses(Object.fromEntries(others.map(({ name }) => [name, 'ready'])));
  await plane.ready();
  await rig.judge.settled();
});
