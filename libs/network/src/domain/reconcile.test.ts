import type { WriteSet } from '@berth/changes';
import { Lease } from '@berth/contracts/network';
import { Stack } from '@berth/contracts/scheduler';
import { NetworkSpec } from '@berth/contracts/workload';
import type { StoredEntry } from '@berth/kernel';
import { networkSettings, overlaps, parseCidr } from '@berth/workload';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pickVni } from './backend.ts';
import { decideLease } from './lease.ts';
import type { DeclaredStacks } from './reconcile.ts';
import { reconcileNetworks } from './reconcile.ts';
import { leases } from './records.ts';
import { holderId, NetworkTables } from './tables.ts';
import {
  createNetwork,
  dropRange,
  growNetwork,
  releaseBlock,
  removeNetwork,
  reviveNetwork,
  startDeleting,
  takeBlock,
} from './writes.ts';

const settings = networkSettings({ pool: '198.18.0.0/20', rangePrefix: 24, blockPrefix: 27 });

/** A store for one writer: applies write sets and feeds the tables, as the mirror would. */
class Model {
  readonly tables = new NetworkTables();
  readonly entries = new Map<string, StoredEntry>();
  readonly leftNodes = new Set<string>();
  #revision = 1;
  #networks = 0;

  commit(writes: WriteSet): boolean {
    const { compares, ops } = writes.group();
    const holds = compares.every((compare) => {
      const entry = this.entries.get(compare.key);
      return compare.kind === 'absent'
        ? !entry
        : entry !== undefined && (compare.kind !== 'unchanged' || entry.modRevision === compare.modRevision);
    });
    if (!holds) return false;
    expect(ops.length).toBeLessThanOrEqual(128);
    this.#revision += 1;
    for (const op of ops) {
      if (op.kind === 'put') {
        const entry = { key: op.key, value: op.value, modRevision: this.#revision, createRevision: this.#revision };
        this.entries.set(op.key, entry);
        this.tables.apply([{ kind: 'put', entry }]);
      } else if (this.entries.delete(op.key)) {
        this.tables.apply([{ kind: 'delete', key: op.key }]);
      }
    }
    return true;
  }

  decide(declared: DeclaredStacks | undefined) {
    return reconcileNetworks({ state: this.tables, settings, declared, leftNodes: this.leftNodes });
  }

  /** Carries out what is decided until nothing is; returns how many rounds it took. */
  settle(declared: DeclaredStacks | undefined): number {
    for (let round = 0; round < 100; round++) {
      const actions = this.decide(declared).filter(({ kind }) => kind !== 'blocked');
      if (actions.length === 0) return round;
      for (const action of actions) {
        if (action.kind === 'create') {
          const id = `n${++this.#networks}`;
          const vni = pickVni(id, this.tables.takenVnis);
          this.commit(createNetwork(settings, { ...action, id, vni, declaredAt: declared!.revision }));
          continue;
        }
        if (action.kind === 'blocked') continue;
        if (action.kind === 'release') {
          this.commit(releaseBlock(action.lease, action.holder));
          continue;
        }
        const network = this.tables.networks.get(action.network.id)!;
        if (action.kind === 'start-deleting') this.commit(startDeleting(network));
        else if (action.kind === 'revive')
          this.commit(reviveNetwork(network, { ...action, declaredAt: declared!.revision }));
        else if (action.kind === 'drop-range') this.commit(dropRange(settings, network, action.range));
        else this.commit(removeNetwork(settings, network));
      }
    }
    throw new Error('does not settle');
  }

  lease(networkId: string, nodeId: string, fullBlocks: string[] = []): string | undefined {
    for (let attempt = 0; ; attempt++) {
      const network = this.tables.networks.get(networkId);
      if (!network || network.value.deleting) return undefined;
      const { takenUnits } = this.tables;
      const held = this.tables.leasesOf(networkId);
      const decision = decideLease({
        network: network.value,
        leases: held,
        takenUnits,
        settings,
        nodeId,
        fullBlocks,
        attempt,
      });
      if (decision.kind === 'held') return decision.lease.value.block;
      if (decision.kind === 'exhausted') return undefined;
      if (decision.kind === 'take') {
        const { block } = decision;
        const lease = Lease.fromPartial({ id: `${block}@${attempt}`, networkId, block, nodeId });
        expect(this.commit(takeBlock(network, lease, this.holderOf(lease)))).toBe(true);
        return block;
      }
      expect(this.commit(growNetwork(settings, network, decision.range))).toBe(true);
    }
  }

  release(block: string): void {
    const entry = this.entries.get(leases.key(block))!;
    const lease = leases.decode(entry);
    this.commit(releaseBlock({ value: lease, modRevision: entry.modRevision }, this.holderOf(lease)));
  }

  holderOf({ networkId, nodeId }: Lease) {
    return this.tables.holders.get(holderId(networkId, nodeId));
  }

  /** What must hold at any time. */
  check(): void {
    const ranges = [...this.tables.networks.values()].flatMap(({ value }) => value.ranges.map(parseCidr));
    for (const [i, a] of ranges.entries()) {
      for (const b of ranges.slice(i + 1)) expect(overlaps(a, b)).toBe(false);
    }
    for (const { value } of this.tables.networks.values()) {
      for (const block of this.tables.leasesOf(value.id).keys()) {
        expect(value.ranges.some((range) => overlaps(parseCidr(range), parseCidr(block)))).toBe(true);
      }
    }
    const vnis = [...this.tables.networks.values()].map(({ value }) => value.vni);
    expect(new Set(vnis)).toEqual(this.tables.takenVnis);
    expect(this.tables.takenVnis.size).toBe(vnis.length);
    const held = [...this.tables.holders.values()].flatMap(({ value }) => value.blocks);
    expect(held.sort()).toEqual(
      this.tables
        .allLeases()
        .map(({ block }) => block)
        .sort(),
    );
  }
}

const declare = (
  stacks: readonly { id: string; networks: readonly string[]; removing?: boolean }[],
  revision = 100,
) => ({
  revision: { epoch: 'e', revision },
  stacks: stacks.map(({ id, networks, removing }) =>
    Stack.fromPartial({
      id,
      namespace: 'default',
      name: id,
      removing: removing ?? false,
      networks: networks.map((name) => NetworkSpec.fromPartial({ name })),
    }),
  ),
});

describe('reconcileNetworks', () => {
  it('gives each declared network a range of its own, once', () => {
    const model = new Model();
    const declared = declare([
      { id: 'a', networks: ['default', 'back'] },
      { id: 'b', networks: ['default'] },
    ]);
    model.settle(declared);
    model.check();
    expect([...model.tables.networks.values()].map(({ value }) => [value.stackId, value.name, value.ranges])).toEqual([
      ['a', 'default', ['198.18.0.0/24']],
      ['a', 'back', ['198.18.1.0/24']],
      ['b', 'default', ['198.18.2.0/24']],
    ]);
    expect(model.decide(declared)).toEqual([]);
  });

  it('leaves static and removing stacks alone, and creates nothing without a synced mirror', () => {
    const model = new Model();
    const [stack] = declare([{ id: 'berth', networks: ['default'] }]).stacks;
    expect(model.decide({ revision: { epoch: 'e', revision: 1 }, stacks: [{ ...stack!, static: true }] })).toEqual([]);
    expect(model.decide(declare([{ id: 'a', networks: ['default'], removing: true }]))).toEqual([]);
    expect(model.decide(undefined)).toEqual([]);
  });

  it('deletes in two steps: no new blocks, then everything with the last block', () => {
    const model = new Model();
    model.settle(declare([{ id: 'a', networks: ['default'] }]));
    const block = model.lease('n1', 'node1')!;
    model.settle(declare([]));
    expect(model.tables.networks.get('n1')?.value.deleting).toBe(true);
    expect(model.lease('n1', 'node2')).toBeUndefined();
    model.release(block);
    model.settle(undefined);
    expect([...model.entries.keys()]).toEqual([]);
  });

  it('takes no absence for an end in a mirror that has not come far enough', () => {
    const model = new Model();
    model.settle(declare([{ id: 'a', networks: ['default'] }], 100));
    expect(model.decide(declare([], 99))).toEqual([]);
    expect(model.decide(undefined)).toEqual([]);
    expect(model.decide(declare([], 100))).toHaveLength(1);
  });

  it('takes no second block for a request that another replica has carried out unseen', () => {
    const model = new Model();
    model.settle(declare([{ id: 'a', networks: ['default'] }]));
    const network = model.tables.networks.get('n1')!;
    const [first, second] = ['198.18.0.0/27', '198.18.0.32/27'].map((block) =>
      Lease.fromPartial({ id: block, networkId: 'n1', block, nodeId: 'm' }),
    );
    const unseen = model.holderOf(first!);
    expect(model.commit(takeBlock(network, first!, unseen))).toBe(true);
    expect(model.commit(takeBlock(network, second!, unseen))).toBe(false);
    const seen = model.holderOf(first!);
    expect(model.commit(takeBlock(network, second!, seen))).toBe(true);
    const third = Lease.fromPartial({ id: '3', networkId: 'n1', block: '198.18.0.64/27', nodeId: 'm' });
    expect(model.commit(takeBlock(network, third, seen))).toBe(false);
  });

  it('takes back what a node held that has left, and nothing of others', () => {
    const model = new Model();
    const declared = declare([{ id: 'a', networks: ['default', 'back'] }]);
    model.settle(declared);
    const full: string[] = [];
    for (let i = 0; i < 3; i++) full.push(model.lease('n1', 'gone', full)!);
    model.lease('n2', 'gone');
    const other = model.lease('n1', 'stays');
    model.leftNodes.add('gone');
    model.settle(declared);
    expect(model.tables.allLeases().map(({ block }) => block)).toEqual([other]);
    model.check();
    model.settle(declare([]));
    expect([...model.tables.networks.keys()]).toEqual(['n1']);
  });

  it('gives a name that comes back its network, as long as tasks are on that', () => {
    const model = new Model();
    const declared = declare([{ id: 'a', networks: ['default'] }]);
    model.settle(declared);
    const block = model.lease('n1', 'node1')!;
    model.settle(declare([{ id: 'a', networks: [] }]));
    expect(model.tables.networks.get('n1')?.value.deleting).toBe(true);
    model.settle(declared);
    expect([...model.tables.networks.values()].map(({ value }) => [value.id, value.deleting])).toEqual([['n1', false]]);
    expect(model.lease('n1', 'node2')).not.toBe(block);
    model.check();
    // Of a network that has begun to give its ranges back nothing is taken any more.
    const left = model.tables.networks.get('n1')!;
    model.settle(declare([{ id: 'a', networks: [] }]));
    const spec = declared.stacks[0]!.networks[0]!;
    expect(model.commit(reviveNetwork(left, { stack: declared.stacks[0]!, spec, declaredAt: declared.revision }))).toBe(
      false,
    );
  });

  it('gives a name that comes back with other options a new network while the old one is deleting', () => {
    const model = new Model();
    const declared = declare([{ id: 'a', networks: ['default'] }]);
    model.settle(declared);
    model.lease('n1', 'node1');
    model.settle(declare([{ id: 'a', networks: [] }]));
    for (const spec of declared.stacks[0]!.networks) spec.internal = true;
    model.settle(declared);
    expect([...model.tables.networks.values()].map(({ value }) => [value.id, value.deleting])).toEqual([
      ['n1', true],
      ['n2', false],
    ]);
    model.check();
  });

  it('says when the pool is used up, and goes on when there is room', () => {
    const model = new Model();
    const many = Array.from({ length: 17 }, (_, i) => `net${i}`);
    model.settle(declare([{ id: 'a', networks: many }]));
    expect(model.tables.networks.size).toBe(16);
    expect(model.decide(declare([{ id: 'a', networks: many }]))).toEqual([
      expect.objectContaining({ kind: 'blocked', spec: expect.objectContaining({ name: 'net16' }) }),
    ]);
    model.settle(declare([{ id: 'a', networks: many.slice(1) }]));
    expect(model.tables.networks.size).toBe(16);
    expect(model.decide(declare([{ id: 'a', networks: many.slice(1) }]))).toEqual([]);
  });

  it('holds under any order of declaring, leasing and releasing, and leaves no key in the end', () => {
    const name = fc.constantFrom('x', 'y', 'z');
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('declare' as const),
        stacks: fc.uniqueArray(fc.record({ id: name, networks: fc.uniqueArray(name) }), { selector: ({ id }) => id }),
      }),
      fc.record({ kind: fc.constant('lease' as const), network: fc.nat(10), node: fc.nat(20), full: fc.boolean() }),
      fc.record({ kind: fc.constant('release' as const), lease: fc.nat(50) }),
      fc.constant({ kind: 'unsynced' as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const model = new Model();
        let revision = 0;
        for (const each of steps) {
          revision += 1;
          if (each.kind === 'declare') {
            const declared = declare(each.stacks, revision);
            model.settle(declared);
            expect(model.decide(declared).filter(({ kind }) => kind !== 'blocked')).toEqual([]);
          } else if (each.kind === 'unsynced') {
            const before = model.tables.networks.size;
            model.settle(undefined);
            expect(model.tables.networks.size).toBeLessThanOrEqual(before);
          } else if (each.kind === 'lease') {
            const ids = [...model.tables.networks.keys()];
            const id = ids[each.network % Math.max(1, ids.length)];
            if (!id) continue;
            const held = [...model.tables.leasesOf(id).values()].filter(
              ({ value }) => value.nodeId === `m${each.node}`,
            );
            model.lease(id, `m${each.node}`, each.full ? held.map(({ value }) => value.block) : []);
          } else {
            const all = model.tables.allLeases();
            const lease = all[each.lease % Math.max(1, all.length)];
            if (lease) model.release(lease.block);
          }
          model.check();
        }
        model.settle(declare([], revision + 1));
        for (const lease of model.tables.allLeases()) model.release(lease.block);
        model.settle(declare([], revision + 1));
        expect([...model.entries.keys()]).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});
