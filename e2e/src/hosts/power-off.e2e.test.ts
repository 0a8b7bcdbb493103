import { recordFigures } from '@berth/testing-hosts';
import type { Inventories } from '@berth/testing-judge';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Rig } from './rig.ts';
import { rounds, startRig, webStack } from './rig.ts';

/** A host that is not the manager loses its power. */
const stack = 'power';
const text = webStack(stack, 6);
let rig: Rig;
let fresh: Inventories;
beforeAll(async () => {
  rig = await startRig();
  fresh = await rig.judge.inventory();
});
afterAll(async () => {
  for (const host of rig.others) if (host.initPid === undefined) await host.start();
  await rig.cluster.tryBerth(['down', stack, '--volumes']);
});

describe('power-off of a host', () => {
  it(`${rounds(2, 10)} times: its tasks run elsewhere, nothing else is touched, and it comes back with nothing twice`, async ({
    task,
  }) => {
    const { judge, others, cluster } = rig;
    await rig.up(text);
    await judge.settled();
    const elsewhereMs: number[] = [];
    const backMs: number[] = [];
    for (let round = 0; round < rounds(2, 10); round++) {
      const host = others[round % 2] ?? others[0];
      // By now it carries some: the last round's replicas went there when the other one was off.
      expect(await judge.snapshot([host])).not.toHaveLength(0);
      const untouched = await judge.snapshot(cluster.hosts.filter((each) => each !== host));
      await host.kill();
      elsewhereMs.push(await judge.settled({ withinMs: 30_000 }));
      await judge.untouched(untouched);
      const began = performance.now();
      await host.start();
      await rig.statuses({ [host.name]: 'ready' });
      await judge.settled({ withinMs: 30_000 });
      backMs.push(Math.round(performance.now() - began));
      await judge.untouched(untouched);
    }
    recordFigures(task, { 'all elsewhere ms': elsewhereMs.join(' '), 'ready and whole again ms': backMs.join(' ') });
  });

  it('a stack is taken down and brought up again while a host is off; back on, the host carries nothing of the old one', async () => {
    const { judge, others, cluster } = rig;
    const [, host] = others;
    await rig.up(text);
    await judge.settled();
    const old = await judge.snapshot();
    await host.kill();
    // It is taken down on the others, and says whom it waits for; `up` does not wait for a host that is lost.
    const down = await cluster.tryBerth(['down', stack, '--timeout', '6s']);
    expect([down.code, down.stderr]).toEqual([3, expect.stringContaining(host.name)]);
    judge.withdrawn(stack);
    await rig.up(text);
    await judge.settled();
    const untouched = await judge.snapshot();
    for (const { id } of old) expect(untouched.map((container) => container.id)).not.toContain(id);
    const order = await judge.watchOrder(host);
    await host.start();
    await rig.statuses({ [host.name]: 'ready' });
    await judge.settled();
    await judge.untouched(untouched);
    await order.end();
    const standing = (await host.docker(['ps', '--all', '--quiet', '--no-trunc'])).split('\n');
    expect(old.filter(({ id }) => standing.includes(id))).toEqual([]);
  });

  it('leaves nothing after `down`, on no host and not in the store', async () => {
    await rig.down(stack);
    await rig.judge.settled();
    await rig.judge.nothingLeft(fresh);
  });
});
