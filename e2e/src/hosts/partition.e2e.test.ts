import { setTimeout as sleep } from 'node:timers/promises';
import type { Host, Lab } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { retry } from '../cluster.ts';
import type { Rig } from './rig.ts';
import { full, rounds, startRig, webStack } from './rig.ts';

/** Packets are dropped without a word; nobody is powered off. */
const stack = 'parted';
const replicas = 6;
const text = webStack(stack, replicas);
/** Both schedulers' dispatch. */
const dispatchPorts = [7411, 7511];
/** In the full run a fault lasts as long as the issue says; else just longer than a lease and its probes. */
const faultMs = full ? 30_000 : 6_000;

interface Kind {
  readonly what: string;
  /** Also in `npm test`. */
  readonly always?: boolean;
  readonly cut: (lab: Lab, host: Host, manager: Host, peer: Host) => Promise<void>;
}

/** Nobody reaches the host, or hears it: it is lost, and its tasks run elsewhere. */
const losing: readonly Kind[] = [
  { what: 'from everybody', always: true, cut: (lab, host) => lab.partition(host) },
  { what: 'from everybody, nothing that it sends arrives', cut: (lab, host) => lab.partitionOneWay(host, 'from') },
  { what: 'from everybody, nothing arrives there', cut: (lab, host) => lab.partitionOneWay(host, 'to') },
];

/** Somebody still reaches the host: it is not lost, and nothing moves. */
const keeping: readonly Kind[] = [
  { what: 'from the manager', cut: (lab, host, manager) => lab.cut(host, manager) },
  {
    what: 'from the manager, which does not hear it',
    always: true,
    cut: (lab, host, manager) => lab.cut(host, manager, { oneWay: true }),
  },
  {
    what: 'from the manager, which it does not hear',
    cut: (lab, host, manager) => lab.cut(manager, host, { oneWay: true }),
  },
  { what: 'from another host', cut: (lab, host, _manager, peer) => lab.cut(host, peer) },
  { what: 'from another host, one way', cut: (lab, host, _manager, peer) => lab.cut(host, peer, { oneWay: true }) },
  {
    what: 'from dispatch alone',
    cut: async (lab, host, manager) => {
      for (const port of dispatchPorts) await lab.cut(host, manager, { port });
    },
  },
];

let rig: Rig;
let lab: Lab;
let manager: Host;
beforeAll(async () => {
  rig = await startRig();
  ({ lab, host: manager } = rig.cluster);
  await rig.up(text);
});
afterAll(async () => {
  await mendAll();
  await rig.cluster.tryBerth(['down', stack, '--volumes']);
});

const mendAll = async () => {
  const [a, b] = rig.others;
  await lab.heal(a, b);
  await lab.mend(a, b);
  for (const host of [a, b]) await lab.mend(host, manager);
};
/** A host with replicas to lose, and the other one. */
const victim = async (round: number): Promise<[Host, Host]> => {
  const [a, b] = rig.others;
  const order: [Host, Host] = round % 2 === 0 ? [b, a] : [a, b];
  const carries = async (host: Host) => (await rig.judge.snapshot([host])).length > 1;
  return (await carries(order[0])) ? order : [order[1], order[0]];
};
const selected = (kinds: readonly Kind[]) => kinds.filter(({ always }) => always || full);

describe.each(selected(losing))('a host cut off $what', ({ cut }) => {
  it(`${rounds(1, 3)} times: its tasks run elsewhere, and once healed exactly the wanted ones run`, async ({
    task,
  }) => {
    const { judge } = rig;
    const elsewhereMs: number[] = [];
    const healedMs: number[] = [];
    for (let round = 0; round < rounds(1, 3); round++) {
      await judge.settled();
      const [host, peer] = await victim(round);
      const untouched = await judge.snapshot([manager, peer]);
      const cutOff = await judge.snapshot([host]);
      const order = await judge.watchOrder(host);
      const began = performance.now();
      await cut(lab, host, manager, peer);
      await rig.statuses({ [host.name]: 'lost' });
      await retry(30_000, async () => {
        const running = (await judge.snapshot([manager, peer])).filter(
          ({ labels }) => labels['berth.service'] === 'web',
        );
        if (running.length !== replicas) throw new Error(`${running.length} of ${replicas} run elsewhere`);
      });
      elsewhereMs.push(Math.round(performance.now() - began));
      if (full) await sleep(faultMs - (performance.now() - began));
      // The host goes on alone with what it last agreed to.
      await judge.untouched(cutOff);
      await mendAll();
      healedMs.push(await judge.settled({ withinMs: 30_000 }));
      await rig.statuses({ [host.name]: 'ready' });
      await judge.settled();
      await judge.untouched(untouched);
      await order.end();
    }
    recordFigures(task, { 'all elsewhere ms': elsewhereMs.join(' '), 'whole after healing ms': healedMs.join(' ') });
  });
});

describe.each(selected(keeping))('a host cut off $what', ({ cut }) => {
  it(`${rounds(1, 3)} times: it is not lost, and nothing moves`, async () => {
    const { judge, cluster } = rig;
    for (let round = 0; round < rounds(1, 3); round++) {
      await judge.settled();
      const [host, peer] = await victim(round);
      const untouched = await judge.snapshot();
      const end = performance.now() + faultMs;
      await cut(lab, host, manager, peer);
      while (performance.now() < end) {
        const nodes = await cluster.json<{ hostname: string; status: string }[]>(['node', 'ls']);
        expect(nodes.filter(({ status }) => status === 'lost')).toEqual([]);
        await judge.holds({ names: false });
        await sleep(500);
      }
      await judge.untouched(untouched);
      await mendAll();
      await rig.statuses({ [host.name]: 'ready' });
      await judge.settled({ withinMs: 30_000 });
      await judge.untouched(untouched);
    }
  });
});

describe('a host that dispatch does not reach', () => {
  it('gets nothing new, and its share once it listens again', async () => {
    const { judge } = rig;
    const [host] = await victim(0);
    const before = await judge.snapshot([host]);
    for (const port of dispatchPorts) await lab.cut(host, manager, { port });
    // Longer than a lease.
    await sleep(5_000);
    await rig.up(webStack(stack, replicas + 2));
    await judge.settled({ names: false });
    expect((await judge.snapshot([host])).map(({ id }) => id).sort()).toEqual(before.map(({ id }) => id).sort());
    await mendAll();
    await rig.up(text);
    await judge.settled();
  });
});

describe('all hosts but the manager cut off at once', () => {
  /** Nothing moves, for as long as the fault is to last. */
  const stands = async () => {
    const end = performance.now() + faultMs;
    while (performance.now() < end) {
      await rig.judge.holds({ names: false });
      await sleep(500);
    }
  };
  const apart = async () => {
    await lab.partition(...rig.others);
    await retry(20_000, async () => {
      const { stdout, stderr } = await rig.cluster.tryBerth(['node', 'ls']);
      if (!/brake/u.test(`${stdout}${stderr}`)) throw new Error(`no brake: ${stdout}${stderr}`);
    });
  };

  it.runIf(full)('nothing moves until they return', async () => {
    const { judge } = rig;
    await judge.settled();
    const all = await judge.snapshot();
    await apart();
    await stands();
    await mendAll();
    const [a, b] = rig.others;
    await rig.statuses({ [a.name]: 'ready', [b.name]: 'ready' });
    await judge.settled({ withinMs: 30_000 });
    await judge.untouched(all);
  });

  it('nothing moves until `cluster resume`: then all runs on the manager, and exactly once when they are back', async () => {
    const { judge, cluster, others } = rig;
    await judge.settled();
    const own = await judge.snapshot([manager]);
    const orders = await Promise.all(others.map((host) => judge.watchOrder(host)));
    await apart();
    await stands();
    await cluster.berth(['cluster', 'resume']);
    await retry(30_000, async () => {
      const running = (await judge.snapshot([manager])).filter(({ labels }) => labels['berth.service'] === 'web');
      if (running.length !== replicas) throw new Error(`${running.length} of ${replicas} run on the manager`);
    });
    await mendAll();
    const [a, b] = others;
    await rig.statuses({ [a.name]: 'ready', [b.name]: 'ready' });
    await judge.settled({ withinMs: 30_000 });
    await judge.untouched(own);
    for (const order of orders) await order.end();
  });
});
