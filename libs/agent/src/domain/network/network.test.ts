import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Block } from './blocks.ts';
import { BlockTable, blockOf, blockOfEngineNetwork, engineOptionsOf, labelsOf } from './blocks.ts';
import { bridgeDevice, formatIp, gatewayOf, parseBlock, pickAddress } from './bridges.ts';
import type { FirewallInput, FirewallState } from './firewall.ts';
import { desiredFirewall, diffFirewall, firewallSetNames, noFirewall, noSets } from './firewall.ts';
import type { CarriedNetwork } from './kernel.ts';
import { overlayDevice } from './overlay-names.ts';

const wanted = (network: string, internal = false) => ({
  network,
  spec: { name: network, driverOpts: {}, internal, externalName: '' },
});

const bridges = fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { maxLength: 12 }).map((numbers) =>
  numbers.map((n) => ({
    ...blockOf({
      networkId: `net${n % 4}xxxxxxxx`,
      stackId: 's',
      network: `n${n % 4}`,
      block: `${formatIp(parseBlock('198.19.0.0/16').first + n * 64)}/26`,
      internal: n % 4 === 3,
    }),
  })),
);

const state = (blocks: Block[], over: Partial<FirewallInput> = {}): FirewallState =>
  desiredFirewall({
    clusterId: 'c1',
    link: undefined,
    blocks,
    networks: [],
    memberships: [],
    parts: { addresses: [], ports: [] },
    ...over,
  });

/** What the host would hold after a change. */
const applied = (before: FirewallState, change: ReturnType<typeof diffFirewall>): FirewallState => {
  if (!change) return before;
  const base = change.table === 'keep' ? before.sets : noSets;
  const sets = Object.fromEntries(
    firewallSetNames.map((name) => [name, base[name].difference(change.remove[name]).union(change.add[name])]),
  ) as unknown as FirewallState['sets'];
  return {
    table: change.table === 'remove' ? 'absent' : change.table === 'create' ? 'ok' : before.table,
    sets,
    accept: change.accept === 'remove' ? 'absent' : change.accept === 'create' ? 'ok' : before.accept,
  };
};

describe('firewall', () => {
  it('a diff brings any state to the wanted one, and then there is nothing left to do', () => {
    const condition = fc.constantFrom('ok' as const, 'damaged' as const, 'absent' as const);
    fc.assert(
      fc.property(bridges, bridges, condition, condition, (before, after, table, accept) => {
        const held = state(before);
        const actual = table === 'ok' ? { ...held, accept } : { ...noFirewall, table, accept };
        const wanted = state(after);
        const next = applied(actual, diffFirewall(actual, wanted, []));
        expect(next).toEqual(wanted);
        expect(diffFirewall(next, wanted, [])).toBeUndefined();
      }),
    );
  });

  it('lets bridges through to each other within a network only', () => {
    fc.assert(
      fc.property(bridges, (list) => {
        const { sets } = state(list);
        for (const a of list)
          for (const b of list) expect(sets.peers.has(`${a.device} ${b.device}`)).toBe(a.networkId === b.networkId);
      }),
    );
  });
});

describe('firewall over hosts', () => {
  const link = { device: 'eth0', mtu: 1500 };
  const blockIn = (networkId: string, n: number, backend = 'vxlan') =>
    blockOf({
      networkId,
      stackId: 's',
      network: networkId,
      block: `198.19.${n}.0/26`,
      internal: false,
      backend,
      vni: 5000 + n,
      pool: '198.19.0.0/16',
    });
  const peers = (n: number) => [{ block: `198.19.${n}.64/26`, address: '198.18.0.12', vxlanPort: 7461 }];
  const carried = (block: Block, known: CarriedNetwork['peers']): CarriedNetwork => ({ ...block, peers: known });
  const all = (sets: FirewallState['sets']) => [...sets.sources].sort();

  it('takes by a VXLAN device only blocks of its network, and with host-gw by the link only those of peers', () => {
    const [over, lan] = [blockIn('over', 1), blockIn('lan', 2, 'host-gw')];
    const networks = [carried(over, peers(1)), carried(lan, peers(2))];
    const { sets } = state([over, lan], { link, networks });
    const overlay = overlayDevice('c1', 5001);
    expect([...sets.overlays]).toEqual([overlay]);
    expect(all(sets)).toEqual(
      [`${overlay} 198.19.1.64/26`, 'btc6130100 198.19.1.0/26', 'btc6130200 198.19.2.0/26'].sort(),
    );
    expect([...sets.remote]).toEqual(['btc6130200 eth0 198.19.2.64/26']);
    expect([...sets.peers].filter((pair) => pair.includes(overlay))).toEqual([
      `btc6130100 ${overlay}`,
      `${overlay} btc6130100`,
    ]);
    expect([...sets.pool]).toEqual(['198.19.0.0/16']);
    expect([...state([lan], { networks: [carried(lan, peers(2))] }).sets.remote]).toEqual([]);
  });

  it('lets a container on several networks go to the other blocks of each, as the address it has there', () => {
    const [back, front] = [blockIn('back', 1), blockIn('front', 2)];
    const table = new BlockTable();
    for (const block of [back, front]) table.addBlock(block);
    const first = table.join('t', 's', wanted('back'))?.ip;
    const second = table.join('t', 's', wanted('front'))?.ip;
    table.join('alone', 's', wanted('front'));
    const networks = table.networks((id) => peers(id === 'back' ? 1 : 2));
    const { sets } = state(table.blocks, { link, networks, memberships: table.memberships() });
    expect([...sets.members]).toEqual([`${first} 198.19.2.64/26`]);
    expect([...sets.translate]).toEqual([`${first} 198.19.2.64/26 ${second}`]);
    expect(sets.sources.has(`${back.device} ${second}`)).toBe(true);
    table.release('t');
    expect(table.memberships()).toEqual([]);
  });

  it('keeps what is there of other hosts while their blocks are not known, and nothing else', () => {
    const [over, gone] = [blockIn('over', 1), blockIn('gone', 3)];
    const before = state([over, gone], { link, networks: [carried(over, peers(1)), carried(gone, peers(3))] });
    const networks = [carried(over, undefined)];
    const change = diffFirewall(before, state([over], { link, networks }), networks);
    expect(change?.remove.sources.size).toBe(0);
    expect([...(change?.remove.bridges ?? [])]).toEqual([gone.device]);
  });
});

describe('blocks', () => {
  it('names devices within 15 characters, one a block', () => {
    expect(bridgeDevice('198.19.1.64/26')).toBe('btc6130140');
    expect(gatewayOf('198.19.1.64/26')).toBe('198.19.1.65');
    expect(() => parseBlock('198.19.1.64')).toThrow(/address block/);
  });

  it('names engine networks so that those with a way out sort first, as Docker takes the first for the default route', () => {
    const of = (networkId: string, internal: boolean) =>
      blockOf({ networkId, stackId: 's', network: 'n', block: '198.19.0.0/26', internal }).dockerNetwork;
    expect([of('00000000', true), of('zzzzzzzz', false)].sort()).toEqual([of('zzzzzzzz', false), of('00000000', true)]);
  });

  it('gives each address of a block once, then none, and the oldest freed last', () => {
    const used = new Set<string>();
    let last: string | undefined;
    for (let i = 0; i < 61; i++) {
      last = pickAddress('198.19.0.0/26', used, last);
      expect(last).toBeDefined();
      used.add(last ?? '');
    }
    expect(pickAddress('198.19.0.0/26', used, last)).toBeUndefined();
    expect([used.has('198.19.0.2'), used.has('198.19.0.62'), used.has('198.19.0.63')]).toEqual([true, true, false]);
    used.delete('198.19.0.5');
    used.delete('198.19.0.4');
    expect(pickAddress('198.19.0.0/26', used, '198.19.0.4')).toBe('198.19.0.5');
  });

  it('is read back whole from the labels of its engine network', () => {
    const block = blockOf({
      networkId: 'abcdefghij',
      stackId: 's1',
      network: 'back',
      block: '198.19.2.0/26',
      internal: true,
      driverOpts: { 'com.docker.network.driver.mtu': '1400', 'berth.backend': 'host-gw' },
      backend: 'host-gw',
      vni: 5001,
      pool: '198.19.0.0/16',
      leaseId: 'l1',
    });
    expect(engineOptionsOf(block, 1450)).toEqual({ 'com.docker.network.driver.mtu': '1400' });
    expect(engineOptionsOf({ ...block, driverOpts: {} }, 1450)).toEqual({ 'com.docker.network.driver.mtu': '1450' });
    expect(
      blockOfEngineNetwork({
        id: 'x',
        name: block.dockerNetwork,
        bridge: block.device,
        subnet: block.block,
        gateway: block.gateway,
        labels: labelsOf(block),
        containers: [],
      }),
    ).toEqual(block);
  });

  it('never gives an address to two tasks, and a task always the same one', () => {
    const step = fc.record({ task: fc.integer({ min: 0, max: 90 }), op: fc.constantFrom('join', 'join', 'release') });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const table = new BlockTable();
        for (const i of [0, 1])
          table.addBlock(
            blockOf({
              networkId: 'nnnnnnnn',
              stackId: 's',
              network: 'a',
              block: `198.19.0.${i * 64}/26`,
              internal: false,
            }),
          );
        const held = new Map<string, string>();
        for (const { task, op } of steps) {
          const id = `t${task}`;
          if (op === 'release') {
            table.release(id);
            held.delete(id);
            continue;
          }
          const join = table.join(id, 's', wanted('a'));
          if (join === undefined) expect(held.size).toBe(122);
          else if (held.has(id)) expect(join.ip).toBe(held.get(id));
          else {
            expect([...held.values()]).not.toContain(join.ip);
            held.set(id, join.ip);
          }
        }
        if (held.size === 0) expect(table.unused().length).toBe(2);
      }),
    );
  });

  describe('of two networks of one name', () => {
    const blockOn = (networkId: string, n: number, internal = false) =>
      blockOf({ networkId, stackId: 's', network: 'a', block: `198.19.${n}.0/26`, internal });
    const on = (table: BlockTable, task: string, internal = false, told?: string) =>
      table.join(task, 's', wanted('a', internal), told)?.networkId;

    it('new tasks join the one leased last; a task keeps the place it has', () => {
      const table = new BlockTable();
      table.addLeased(blockOn('n1xxxxxx', 1));
      expect(on(table, 't1')).toBe('n1xxxxxx');
      table.addLeased(blockOn('n2xxxxxx', 2));
      expect([on(table, 't2'), on(table, 't1')]).toEqual(['n2xxxxxx', 'n1xxxxxx']);
      // The name is the first one's again: its block is leased anew.
      table.addLeased(blockOn('n1xxxxxx', 1));
      expect([on(table, 't3'), on(table, 't2'), on(table, 't1')]).toEqual(['n1xxxxxx', 'n2xxxxxx', 'n1xxxxxx']);
    });

    it('none is joined that has lost the name, when the last block of the other is gone', () => {
      const table = new BlockTable();
      table.addLeased(blockOn('n1xxxxxx', 1));
      table.addLeased(blockOn('n2xxxxxx', 2));
      table.removeBlock('198.19.2.0/26');
      expect([on(table, 't1'), table.hasRoom('s', wanted('a'))]).toEqual([undefined, false]);
      table.removeBlock('198.19.1.0/26');
      table.addBlock(blockOn('n3xxxxxx', 3));
      expect(on(table, 't1')).toBe('n3xxxxxx');
    });

    it('one that is not as declared is joined only by a task whose lease it was answered with', () => {
      const table = new BlockTable();
      table.addLeased(blockOn('n1xxxxxx', 1));
      expect([on(table, 't1', true), table.hasRoom('s', wanted('a', true))]).toEqual([undefined, false]);
      expect(table.fullBlocks('s', 'a')).toEqual([]);
      expect(on(table, 't1', true, 'n1xxxxxx')).toBe('n1xxxxxx');
    });

    it('after a start none is joined until one is leased; with one network alone, that one', () => {
      const table = new BlockTable();
      table.addBlock(blockOn('n1xxxxxx', 1));
      expect(on(table, 't1')).toBe('n1xxxxxx');
      table.addBlock(blockOn('n2xxxxxx', 2));
      expect(on(table, 't2')).toBeUndefined();
      table.addLeased(blockOn('n2xxxxxx', 2));
      expect(on(table, 't2')).toBe('n2xxxxxx');
    });
  });
});
