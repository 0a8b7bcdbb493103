import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { retry } from '../cluster.ts';
import type { Rig } from './rig.ts';
import { startRig, webStack } from './rig.ts';

interface NodeLine {
  readonly id: string;
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

const nodes = () => rig.cluster.json<NodeLine[]>(['node', 'ls']);
/** What `node ls` shows, sampled as long as `during` takes. */
async function statusesDuring(during: Promise<unknown>): Promise<Map<string, Set<string>>> {
  const seen = new Map<string, Set<string>>();
  let over = false;
  const end = during.finally(() => {
    over = true;
  });
  while (!over) {
    for (const { hostname, status } of await nodes()) seen.set(hostname, (seen.get(hostname) ?? new Set()).add(status));
    await sleep(300);
  }
  await end;
  return seen;
}
const containersOn = async (host: Host) =>
  (await host.docker(['ps', '--quiet', '--no-trunc', '--filter', 'label=berth.stack=presence']))
    .trim()
    .split('\n')
    .sort();

it('a host whose packets to the manager are dropped, and which others reach, is suspect and not lost', async () => {
  const { cluster, others } = rig;
  const [victim] = others;
  const before = await containersOn(victim);
  await cluster.lab.cut(victim, cluster.host, { oneWay: true });
  const seen = await statusesDuring(sleep(15_000));
  await cluster.lab.mend(victim, cluster.host);
  expect(seen.get(victim.name)).toContain('suspect');
  expect(seen.get(victim.name)).not.toContain('lost');
  await rig.statuses({ [victim.name]: 'ready' });
  expect(await containersOn(victim)).toEqual(before);
});

it('a host that is powered off is lost when its lease is over; back, it is ready again', async ({ task }) => {
  const [, victim] = rig.others;
  await victim.kill();
  const start = performance.now();
  await rig.statuses({ [victim.name]: 'lost' }, 15_000);
  const lostMs = Math.round(performance.now() - start);
  recordFigures(task, { 'power-off to lost, with `node ls`': `${lostMs} ms` });
  expect(lostMs).toBeLessThan(8_000);
  await victim.start();
  await rig.statuses({ [victim.name]: 'ready' }, 60_000);
  await rig.judge.holds();
});

it('all but the manager gone at once: nothing moves, over the death of the registry’s leader too', async () => {
  const { cluster, others } = rig;
  const before = await containersOn(cluster.host);
  await cluster.lab.partition(...others);
  await retry(20_000, async () => {
    for (const each of await nodes()) if (each.hostname !== cluster.host.name) expect(each.status).toBe('suspect');
  });
  const kill = ['ps', '--quiet', '--filter', 'label=berth.service=registry'];
  const [registry = ''] = (await cluster.docker(kill)).trim().split('\n');
  await cluster.docker(['kill', registry]);
  const seen = await statusesDuring(sleep(15_000));
  for (const { name } of others) expect([...(seen.get(name) ?? [])]).toEqual(['suspect']);
  expect(await containersOn(cluster.host)).toEqual(before);
  await cluster.lab.heal(...others);
  await rig.statuses(Object.fromEntries(others.map(({ name }) => [name, 'ready'])));
  await rig.judge.holds();
});
