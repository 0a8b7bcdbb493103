import type { ChangeFeed, RemoteMirror } from '@berth/changes';
import type { Change, EndpointRecord } from '@berth/contracts/registry';
import type { Change as SchedulerChange } from '@berth/contracts/scheduler';
import type { Clock, Compare, Leadership, Logger, MirrorChange, MirrorStep, Store, TxnGroup } from '@berth/kernel';
import { isBerthError, isPassing, packTxns } from '@berth/kernel';
import type { EndpointWrite, ServingWorld } from '../domain/endpoints.ts';
import { forgottenEndpoints, reconcileEndpoints } from '../domain/endpoints.ts';
import { abandonedMembers } from '../domain/members.ts';
import type { NodeSight, PresenceAction } from '../domain/presence-detector.ts';
import { PresenceDetector } from '../domain/presence-detector.ts';
import type { Stored } from '../domain/record-table.ts';
import { endpoints, leaderKey, nodes, statuses } from '../domain/records.ts';
import type { RegistryView } from '../domain/registry-view.ts';
import type { PresenceTiming } from '../domain/timing.ts';
import type { NetworkScopes } from '../domain/writes.ts';
import { emptyHeadGroups, endpointGroups, removeMember, writeBrake, writeStatus } from '../domain/writes.ts';
import type { Prober } from './ports.ts';

/** Time to live of the leader's key: so long after its death nobody decides. */
const leaderTtlMs = 3_000;
/** A round so much later than planned says that this process (or its store) stood still: counts start anew. */
const lateMs = 500;
/** Rounds in which nothing is looked at but what changed are followed by a whole one after this time. */
const wholeRoundMs = 10_000;

export interface LeaderOptions {
  readonly replica: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly view: RegistryView;
  readonly feed: ChangeFeed<Change>;
  readonly scheduler: RemoteMirror<SchedulerChange>;
  readonly world: ServingWorld;
  readonly scopes: NetworkScopes;
  readonly prober: Prober;
  readonly timing: () => PresenceTiming;
}

/**
 * What only one replica may do: move node statuses, keep `serving` of endpoints right, clear the member list of the dead.
 * Every write carries the leader's fence.
 */
export class RegistryLeader {
  readonly #options: LeaderOptions;
  readonly #detector = new PresenceDetector();
  readonly #unknownSince = new Map<string, number>();
  readonly #absentSince = new Map<string, number>();
  readonly #dirtyTasks = new Set<string>();
  readonly #dirtyNodes = new Set<string>();
  readonly #dirtyNetworks = new Set<string>();
  readonly #dirtyEndpoints = new Set<string>();
  #whole = true;
  #wholeAtMs = Number.NEGATIVE_INFINITY;
  #oneByOne = false;
  #leading = false;
  #wake: () => void = () => {};
  #woken = false;

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  get leading(): boolean {
    return this.#leading;
  }

  /** What is known of these networks has changed; undefined: of all. */
  networksChanged(networkIds: ReadonlySet<string> | undefined): void {
    if (networkIds) for (const id of networkIds) this.#dirtyNetworks.add(id);
    else this.#whole = true;
    this.#touch();
  }

  /** Campaigns and leads until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, replica, feed, scheduler, log } = this.#options;
    let behind = false;
    const ends = [
      feed.onStep((_step, raw) => this.#onStored(raw)),
      scheduler.onStep((step) => {
        // A mirror that is whole again may say what it could not say meanwhile.
        if (step.kind !== 'changes' || behind) this.#whole = true;
        else for (const { key } of step.changes) if (key.startsWith('task/')) this.#dirtyTasks.add(key.slice(5));
        behind = step.kind === 'disconnected';
        this.#touch();
      }),
    ];
    try {
      while (!signal.aborted) {
        let leadership: Leadership;
        try {
          leadership = await store.campaign(leaderKey, replica, { ttlMs: leaderTtlMs, signal });
        } catch (error) {
          if (signal.aborted && isBerthError(error, 'Cancelled')) return;
          throw error;
        }
        log.info({ replica }, 'leads the registry');
        await this.#lead(leadership, AbortSignal.any([signal, leadership.lost]));
        this.#leading = false;
        log.info({ replica }, 'leads the registry no longer');
        await resign(leadership);
      }
    } finally {
      for (const end of ends) end();
    }
  }

  async #lead(leadership: Leadership, signal: AbortSignal): Promise<void> {
    const { clock, log, timing } = this.#options;
    this.#startAnew();
    this.#whole = true;
    this.#leading = true;
    let plannedMs = clock.monotonic();
    while (!signal.aborted) {
      if (clock.monotonic() > plannedMs + lateMs) {
        log.warn(
          { lateMs: Math.round(clock.monotonic() - plannedMs) },
          'this leader stood still: all counts start anew',
        );
        this.#startAnew();
      }
      plannedMs = clock.monotonic() + timing().intervalMs / 2;
      try {
        await this.#round(leadership.fence);
      } catch (error) {
        if (!isPassing(error)) throw error;
        log.warn({ error }, 'the store does not answer or is full; trying again');
        this.#whole = true;
      }
      await this.#pause(plannedMs - clock.monotonic(), signal);
    }
  }

  async #round(fence: Compare): Promise<void> {
    const { feed, clock, store, scopes } = this.#options;
    const epoch = feed.revision?.epoch;
    if (epoch === undefined) return;
    const presence = this.#decidePresence();
    const nowMs = clock.monotonic();
    const whole = this.#whole || nowMs - this.#wholeAtMs >= wholeRoundMs;
    const written = endpointGroups(this.#decideEndpoints(whole, nowMs), scopes);
    const emptied = whole ? emptyHeadGroups(feed.scopes, scopes) : [];
    const groups = [...presence, ...written, ...emptied, ...this.#decideMembers()];
    // Where one group lost a race, the next round gives each its own txn.
    const txns = this.#oneByOne ? groups.flatMap((group) => packTxns([group], fence)) : packTxns(groups, fence);
    this.#oneByOne = false;
    let revision = 0;
    for (const txn of txns) {
      const result = await store.txn(txn);
      if (result.committed) revision = result.revision;
      else {
        this.#oneByOne = true;
        this.#whole = true;
      }
    }
    if (revision > 0) await feed.waitFor({ epoch, revision });
    if (this.#oneByOne) await clock.sleep(20);
  }

  #decidePresence(): TxnGroup[] {
    const { view, clock, timing } = this.#options;
    const nodes = [...view.nodes.values()].flatMap(({ value }): NodeSight[] => {
      if (!value.node || value.removed) return [];
      const { id: nodeId, manager } = value.node;
      const status = view.statuses.get(nodeId)?.value;
      return [{ nodeId, manager, status, presence: view.presences.get(nodeId)?.value }];
    });
    const brake = view.brake?.value;
    const decision = this.#detector.decide({ nowMs: clock.monotonic(), timing: timing(), nodes, brake });
    return decision.actions.flatMap((action) => this.#actOn(action));
  }

  #actOn(action: PresenceAction): TxnGroup[] {
    const { view, log } = this.#options;
    switch (action.kind) {
      case 'probe':
        this.#probe(action.nodeId, action.helpers);
        return [];
      case 'brake':
        return this.#setBrake(action);
      case 'brake-off':
        log.info({}, 'the brake is off');
        return [writeBrake(undefined, view.brake)];
      case 'set-status': {
        const { status } = action;
        const node = view.nodes.get(status.nodeId);
        if (!node) return [];
        log.info({ nodeId: status.nodeId, status: status.status, reason: status.reason }, 'node status');
        return [writeStatus(status, view.presences.get(status.nodeId), node)];
      }
    }
  }

  /** Not awaited: an answer counts when it comes. A prober never rejects. */
  #probe(nodeId: string, helpers: readonly string[]): void {
    const { view, prober, clock, timing } = this.#options;
    const target = view.node(nodeId);
    if (!target) return;
    const timeoutMs = timing().intervalMs * 2;
    const nodes = helpers.flatMap((id) => view.node(id) ?? []);
    for (const helper of [undefined, ...nodes]) {
      void prober.probe(target, timeoutMs, helper).then((answer) => {
        if (answer !== 'none') this.#detector.answered(nodeId, answer, clock.monotonic());
      });
    }
  }

  #setBrake({ nodeIds, lostNodeIds }: Extract<PresenceAction, { kind: 'brake' }>): TxnGroup[] {
    const { view, log, clock } = this.#options;
    const before = view.brake;
    const wasOn = before !== undefined && !before.value.resumed;
    if (!wasOn) log.error({ nodeIds }, 'too many nodes are silent at once: the brake is on, nothing moves');
    const sinceMs = (wasOn && before.value.brake?.sinceMs) || clock.wall();
    const record = { brake: { nodeIds: [...nodeIds], sinceMs }, resumed: false, lostNodeIds: [...lostNodeIds] };
    return [writeBrake(record, before)];
  }

  /** `whole`: looks at all endpoints, not only at what has changed. */
  #decideEndpoints(whole: boolean, nowMs: number): EndpointWrite[] {
    const { view, world } = this.#options;
    if (!whole) {
      const records = new Map<string, Stored<EndpointRecord>>();
      const add = (found: Iterable<Stored<EndpointRecord>>): void => {
        for (const record of found) records.set(endpoints.keyOf(record.value), record);
      };
      for (const id of this.#dirtyTasks) add(view.endpointsOfTask(id));
      for (const id of this.#dirtyNodes) add(view.endpointsOfNode(id));
      for (const id of this.#dirtyNetworks) add(view.endpointsOfNetwork(id));
      for (const key of this.#dirtyEndpoints) add([view.endpoints.at(key)].filter((record) => record !== undefined));
      this.#clearDirty();
      return reconcileEndpoints(records.values(), world);
    }
    this.#clearDirty();
    this.#whole = false;
    this.#wholeAtMs = nowMs;
    const forgotten = forgottenEndpoints(view.endpoints.values(), world, this.#unknownSince, nowMs);
    const gone = new Set(forgotten.map(({ before }) => before));
    const kept = reconcileEndpoints(view.endpoints.values(), world).filter(({ before }) => !gone.has(before));
    return [...forgotten, ...kept];
  }

  #decideMembers(): TxnGroup[] {
    const { view, clock } = this.#options;
    return abandonedMembers(view, this.#absentSince, clock.monotonic()).map(removeMember);
  }

  #onStored(raw: MirrorStep): void {
    if (raw.kind === 'reset') this.#whole = true;
    else if (raw.changes.length === 0) return;
    else for (const change of raw.changes) this.#noteDirty(change);
    this.#touch();
  }

  /** Notes whose endpoints are to be looked at. */
  #noteDirty(change: MirrorChange): void {
    const key = change.kind === 'put' ? change.entry.key : change.key;
    const entry = change.kind === 'put' ? change.entry : change.previous;
    if (endpoints.owns(key)) this.#dirtyEndpoints.add(key);
    else if (entry && statuses.owns(key)) this.#dirtyNodes.add(statuses.decode(entry).nodeId);
    else if (entry && nodes.owns(key)) {
      const { node, removed } = nodes.decode(entry);
      if (node && removed) this.#dirtyNodes.add(node.id);
    }
  }

  #startAnew(): void {
    this.#detector.restart();
    this.#unknownSince.clear();
    this.#absentSince.clear();
  }

  #clearDirty(): void {
    this.#dirtyTasks.clear();
    this.#dirtyNodes.clear();
    this.#dirtyNetworks.clear();
    this.#dirtyEndpoints.clear();
  }

  #touch(): void {
    this.#woken = true;
    this.#wake();
  }

  /** Until something changes, the time is up or the signal aborts. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#woken) {
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      await this.#options.clock.sleep(Math.max(0, ms), AbortSignal.any([signal, woken.signal]));
    }
    this.#woken = false;
  }
}

/** Gives the reign back, where the store answers; else it runs out by itself. */
async function resign(leadership: Leadership): Promise<void> {
  try {
    await leadership.resign();
  } catch (error) {
    if (!isBerthError(error)) throw error;
  }
}
