import type { BrakeRecord, NodeStatusRecord } from '@berth/contracts/registry';
import { NodeStatus, Presence, PresenceState } from '@berth/contracts/registry';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PresenceDetector } from './presence-detector.ts';
import { presenceTiming } from './timing.ts';

const timing = presenceTiming(1);
const { NODE_STATUS_READY, NODE_STATUS_SUSPECT, NODE_STATUS_LOST } = NodeStatus;

/** A leader, its clock and the records it reads and writes. */
class Cluster {
  nowMs = 1_000_000;
  detector = new PresenceDetector();
  brake: BrakeRecord | undefined;
  readonly statuses = new Map<string, NodeStatusRecord>();
  readonly presences = new Map<string, Presence>();
  readonly probed: string[] = [];
  /** What probes of a node answer; no entry: nothing. */
  readonly hosts = new Map<string, 'open' | 'refused'>();

  constructor(...nodes: readonly string[]) {
    for (const id of nodes) this.alive(id);
    this.round();
  }

  alive(nodeId: string, partial: Partial<Presence> = {}): void {
    this.#presence(nodeId, PresenceState.PRESENCE_STATE_ALIVE, { dispatchSynced: true, ...partial });
  }

  /** As the replica tells it after two missed heartbeats. */
  silent(nodeId: string): void {
    const before = this.presences.get(nodeId);
    this.#presence(nodeId, PresenceState.PRESENCE_STATE_SILENT, {
      restarting: before?.restarting ?? false,
      silentForMs: 1_000,
    });
  }

  ended(nodeId: string): void {
    const before = this.presences.get(nodeId);
    this.#presence(nodeId, PresenceState.PRESENCE_STATE_ENDED, { restarting: before?.restarting ?? false });
  }

  /** The replica that held its stream died. */
  orphan(nodeId: string): void {
    this.presences.delete(nodeId);
  }

  round(): void {
    const nodes = [...new Set([...this.statuses.keys(), ...this.presences.keys()])].map((nodeId) => ({
      nodeId,
      manager: nodeId === 'a',
      status: this.statuses.get(nodeId),
      presence: this.presences.get(nodeId),
    }));
    for (const action of this.detector.decide({ nowMs: this.nowMs, timing, nodes, brake: this.brake }).actions) {
      if (action.kind === 'set-status') {
        this.statuses.set(action.status.nodeId, action.status);
        continue;
      }
      if (action.kind !== 'probe') {
        this.brake =
          action.kind === 'brake'
            ? {
                brake: { nodeIds: [...action.nodeIds], sinceMs: 0 },
                resumed: false,
                lostNodeIds: [...action.lostNodeIds],
              }
            : undefined;
        continue;
      }
      this.probed.push(action.nodeId);
      const answer = this.hosts.get(action.nodeId);
      if (answer) this.detector.answered(action.nodeId, answer, this.nowMs);
    }
  }

  pass(ms: number): this {
    for (let left = ms; left > 0; left -= 250) {
      this.nowMs += Math.min(250, left);
      this.round();
    }
    return this;
  }

  /** Nodes that the brake holds; undefined while it is off. */
  get held(): readonly string[] | undefined {
    return this.brake && !this.brake.resumed ? this.brake.brake?.nodeIds : undefined;
  }

  /** An operator says so. */
  resume(): void {
    if (this.brake) this.brake = { ...this.brake, resumed: true };
  }

  /** Another replica leads from now on: nothing but the records is left. */
  newLeader(): void {
    this.detector = new PresenceDetector();
  }

  status(nodeId: string): NodeStatus {
    return this.statuses.get(nodeId)?.status ?? NodeStatus.NODE_STATUS_UNSPECIFIED;
  }

  statusesOf(...nodeIds: readonly string[]): NodeStatus[] {
    return nodeIds.map((id) => this.status(id));
  }

  #presence(nodeId: string, state: PresenceState, partial: Partial<Presence>): void {
    this.presences.set(nodeId, Presence.fromPartial({ nodeId, replica: 'r', stream: 's', state, ...partial }));
  }
}

describe('PresenceDetector', () => {
  it('a node with heartbeats is ready', () => {
    const cluster = new Cluster('a');
    expect(cluster.pass(60_000).status('a')).toBe(NODE_STATUS_READY);
    expect(cluster.probed).toEqual([]);
  });

  it('a host that is gone: suspect and probed at once, lost when the lease is over', () => {
    const cluster = new Cluster('a', 'b', 'c');
    cluster.silent('a');
    cluster.round();
    expect(cluster.status('a')).toBe(NODE_STATUS_SUSPECT);
    expect(cluster.probed).toEqual(['a']);
    expect(cluster.pass(1_750).status('a')).toBe(NODE_STATUS_SUSPECT);
    // 3 s after the last heartbeat: the replica had missed it for 1 s.
    expect(cluster.pass(250).status('a')).toBe(NODE_STATUS_LOST);
    expect(cluster.status('b')).toBe(NODE_STATUS_READY);
    cluster.alive('a');
    expect(cluster.pass(250).status('a')).toBe(NODE_STATUS_READY);
  });

  it('a stream that ended and comes back within two heartbeats is nothing', () => {
    const cluster = new Cluster('a');
    cluster.ended('a');
    cluster.pass(750);
    cluster.alive('a');
    cluster.pass(1_000);
    expect(cluster.status('a')).toBe(NODE_STATUS_READY);
    expect(cluster.probed).toEqual([]);
  });

  it('a killed agent (connections refused) has 60 s', () => {
    const cluster = new Cluster('a');
    cluster.hosts.set('a', 'refused');
    cluster.ended('a');
    expect(cluster.pass(59_500).status('a')).toBe(NODE_STATUS_SUSPECT);
    expect(cluster.pass(1_000).status('a')).toBe(NODE_STATUS_LOST);
  });

  it('a host that refused and then goes silent is lost after a lease', () => {
    const cluster = new Cluster('a');
    cluster.hosts.set('a', 'refused');
    cluster.ended('a');
    cluster.pass(10_000);
    cluster.hosts.delete('a');
    expect(cluster.pass(4_000).status('a')).toBe(NODE_STATUS_LOST);
  });

  it('an agent that said it restarts has 60 s, also without any answer', () => {
    const cluster = new Cluster('a');
    cluster.alive('a', { restarting: true });
    cluster.pass(500);
    cluster.ended('a');
    expect(cluster.pass(59_000).status('a')).toBe(NODE_STATUS_SUSPECT);
    expect(cluster.pass(2_000).status('a')).toBe(NODE_STATUS_LOST);
  });

  it('a host whose agent takes connections is never lost, only suspect', () => {
    const cluster = new Cluster('a');
    cluster.hosts.set('a', 'open');
    cluster.silent('a');
    expect(cluster.pass(600_000).status('a')).toBe(NODE_STATUS_SUSPECT);
  });

  it('a single node whose agent is killed and restarted again and again is never lost', () => {
    const cluster = new Cluster('a');
    for (let i = 0; i < 20; i++) {
      cluster.ended('a');
      cluster.hosts.set('a', 'refused');
      cluster.pass(30_000);
      expect(cluster.status('a')).not.toBe(NODE_STATUS_LOST);
      cluster.hosts.set('a', 'open');
      cluster.alive('a');
      cluster.pass(5_000);
      expect(cluster.status('a')).toBe(NODE_STATUS_READY);
    }
  });

  it('a new leader counts anew', () => {
    const cluster = new Cluster('a', 'b', 'c');
    cluster.silent('a');
    cluster.pass(1_500);
    cluster.detector.restart();
    expect(cluster.pass(2_750).status('a')).toBe(NODE_STATUS_SUSPECT);
    expect(cluster.pass(500).status('a')).toBe(NODE_STATUS_LOST);
  });

  it('the death of a replica gives its nodes a whole lease to connect elsewhere', () => {
    const cluster = new Cluster('a', 'b', 'c');
    cluster.orphan('a');
    expect(cluster.pass(2_750).status('a')).not.toBe(NODE_STATUS_LOST);
    cluster.alive('a');
    expect(cluster.pass(5_000).status('a')).toBe(NODE_STATUS_READY);
  });

  it('puts the brake on when most nodes are silent; when enough are back, the others have a whole lease again', () => {
    const cluster = new Cluster('a', 'b', 'c', 'd', 'e');
    for (const id of ['a', 'b', 'c']) cluster.silent(id);
    cluster.pass(60_000);
    expect(cluster.held).toEqual(['a', 'b', 'c']);
    expect(cluster.statusesOf('a', 'b', 'c')).toEqual(Array(3).fill(NODE_STATUS_SUSPECT));
    cluster.alive('a');
    cluster.pass(500);
    expect(cluster.held).toBeUndefined();
    expect(cluster.statusesOf('a', 'b', 'c')).toEqual([NODE_STATUS_READY, NODE_STATUS_SUSPECT, NODE_STATUS_SUSPECT]);
    cluster.pass(2_000);
    cluster.alive('b');
    cluster.pass(1_500);
    expect(cluster.statusesOf('b', 'c')).toEqual([NODE_STATUS_READY, NODE_STATUS_LOST]);
  });

  it('holds them over a change of the leader, however often', () => {
    const cluster = new Cluster('a', 'b', 'c');
    for (const id of ['b', 'c']) cluster.silent(id);
    cluster.pass(10_000);
    expect(cluster.held).toEqual(['b', 'c']);
    for (let i = 0; i < 5; i++) {
      cluster.newLeader();
      cluster.pass(10_000);
      expect(cluster.held).toEqual(['b', 'c']);
      expect(cluster.statusesOf('b', 'c')).toEqual(Array(2).fill(NODE_STATUS_SUSPECT));
    }
  });

  it('an operator ends it: those it held are lost, and the next ones are not held for their sake', () => {
    const cluster = new Cluster('a', 'b', 'c', 'd', 'e');
    for (const id of ['a', 'b', 'c']) cluster.silent(id);
    cluster.pass(10_000);
    cluster.resume();
    cluster.newLeader();
    cluster.pass(3_500);
    expect(cluster.statusesOf('a', 'b', 'c')).toEqual(Array(3).fill(NODE_STATUS_LOST));
    expect(cluster.brake).toBeUndefined();
    cluster.silent('d');
    cluster.pass(4_000);
    expect(cluster.statusesOf('d', 'e')).toEqual([NODE_STATUS_LOST, NODE_STATUS_READY]);
  });

  it('comes on again for a second outage while the first is being given up', () => {
    const cluster = new Cluster('a', 'b', 'c', 'd', 'e', 'f');
    for (const id of ['a', 'b', 'c', 'd']) cluster.silent(id);
    cluster.pass(10_000);
    // One of them answers probes: it is not lost for being given up.
    cluster.hosts.set('a', 'open');
    cluster.pass(500);
    cluster.resume();
    cluster.pass(1_000);
    expect(cluster.statusesOf('a', 'b', 'c', 'd')).toEqual([NODE_STATUS_SUSPECT, ...Array(3).fill(NODE_STATUS_LOST)]);
    for (const id of ['e', 'f']) cluster.silent(id);
    cluster.pass(10_000);
    expect(cluster.held).toEqual(['a', 'e', 'f']);
    cluster.alive('a');
    cluster.pass(500);
    expect(cluster.held).toEqual(['e', 'f']);
  });

  it('counts nodes that were just lost as part of the same outage', () => {
    const cluster = new Cluster('a', 'b', 'c', 'd');
    cluster.silent('a');
    cluster.pass(5_000);
    expect(cluster.status('a')).toBe(NODE_STATUS_LOST);
    cluster.silent('b');
    cluster.silent('c');
    cluster.pass(5_000);
    expect(cluster.held).toEqual(['b', 'c']);
    expect(cluster.status('b')).toBe(NODE_STATUS_SUSPECT);
  });

  it.each(['a minute passes', 'another leads', 'both'])('counts those as long as the brake is on: %s', (what) => {
    const cluster = new Cluster('a', 'b', 'c');
    cluster.silent('b');
    cluster.pass(5_000);
    cluster.silent('c');
    cluster.pass(5_000);
    expect(cluster.held).toEqual(['c']);
    if (what !== 'a minute passes') cluster.newLeader();
    cluster.pass(what === 'another leads' ? 10_000 : 120_000);
    expect([cluster.held, cluster.status('c')]).toEqual([['c'], NODE_STATUS_SUSPECT]);
    cluster.alive('b');
    cluster.pass(5_000);
    expect([cluster.held, cluster.status('c')]).toEqual([undefined, NODE_STATUS_LOST]);
  });

  it('one silent node of two is lost: the brake is for more than one', () => {
    const cluster = new Cluster('a', 'b');
    cluster.silent('a');
    expect(cluster.pass(5_000).status('a')).toBe(NODE_STATUS_LOST);
  });

  it('leaves a node alone that never spoke', () => {
    const cluster = new Cluster('a');
    cluster.presences.set('c', Presence.fromPartial({ nodeId: 'c' }));
    cluster.orphan('c');
    cluster.pass(5_000);
    expect(cluster.status('c')).toBe(NodeStatus.NODE_STATUS_UNSPECIFIED);
  });

  it('says that dispatch is not synced only after a lease', () => {
    const cluster = new Cluster('a');
    cluster.alive('a', { dispatchSynced: false });
    expect(cluster.pass(2_000).statuses.get('a')?.dispatchSynced).toBe(true);
    expect(cluster.pass(1_500).statuses.get('a')?.dispatchSynced).toBe(false);
    cluster.alive('a', { dispatchSynced: true });
    expect(cluster.pass(250).statuses.get('a')?.dispatchSynced).toBe(true);
  });

  it('loses no node that gave a sign of life within a lease, whatever happens', () => {
    const nodes = ['a', 'b', 'c', 'd'];
    const event = fc.record({
      node: fc.constantFrom(...nodes),
      kind: fc.constantFrom('alive', 'silent', 'ended', 'orphan', 'up', 'refused', 'gone', 'restart', 'leader'),
      passMs: fc.integer({ min: 0, max: 4_000 }),
    });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const cluster = new Cluster(...nodes);
        const aliveAtMs = new Map(nodes.map((id) => [id, cluster.nowMs]));
        for (const { node, kind, passMs } of events) {
          if (kind === 'alive') cluster.alive(node);
          else if (kind === 'silent') cluster.silent(node);
          else if (kind === 'ended') cluster.ended(node);
          else if (kind === 'orphan') cluster.orphan(node);
          else if (kind === 'up') cluster.hosts.set(node, 'open');
          else if (kind === 'refused') cluster.hosts.set(node, 'refused');
          else if (kind === 'gone') cluster.hosts.delete(node);
          else if (kind === 'restart') cluster.detector.restart();
          else cluster.newLeader();
          const before = new Map(cluster.statuses);
          for (const id of nodes) {
            const alive = cluster.presences.get(id)?.state === PresenceState.PRESENCE_STATE_ALIVE;
            if (alive || cluster.hosts.get(id) === 'open') aliveAtMs.set(id, cluster.nowMs + passMs);
          }
          cluster.pass(passMs);
          // What the brake holds is not lost, whoever leads.
          for (const id of cluster.held ?? []) expect(cluster.status(id)).toBe(NODE_STATUS_SUSPECT);
          const lostNow = nodes.filter(
            (id) => cluster.status(id) === NODE_STATUS_LOST && before.get(id)?.status !== NODE_STATUS_LOST,
          );
          for (const id of lostNow) {
            // A replica's word on the silence is believed: it tells of it after a second.
            if (cluster.hosts.get(id) !== 'open') {
              expect(cluster.nowMs - aliveAtMs.get(id)!).toBeGreaterThanOrEqual(timing.leaseMs - 1_000);
            }
          }
          // Nothing is lost all at once. Others may have fallen silent later in the same time: they were ready before.
          const ready = nodes.filter(
            (id) =>
              !lostNow.includes(id) &&
              [cluster.status(id), before.get(id)?.status ?? NODE_STATUS_READY].includes(NODE_STATUS_READY),
          );
          if (lostNow.length > 1) expect(ready.length).toBeGreaterThanOrEqual(lostNow.length);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('presenceTiming', () => {
  it('sends at most 200 heartbeats a second, and no node waits less than for 0.5 s', () => {
    expect(presenceTiming(1)).toEqual({ intervalMs: 500, leaseMs: 3_000 });
    expect(presenceTiming(100)).toEqual({ intervalMs: 500, leaseMs: 3_000 });
    expect(presenceTiming(1_000)).toEqual({ intervalMs: 5_000, leaseMs: 30_000 });
    fc.assert(
      fc.property(fc.nat(100_000), (nodes) => {
        expect((nodes * 1_000) / presenceTiming(nodes).intervalMs).toBeLessThanOrEqual(200);
      }),
    );
  });
});
