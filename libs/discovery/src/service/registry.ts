import type { RemoteMirror } from '@berth/changes';
import { ChangeFeed } from '@berth/changes';
import type { Change as NetworkChange } from '@berth/contracts/network';
import type { Change, Member } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { Change as SchedulerChange, TaskView } from '@berth/contracts/scheduler';
import type { Clock, Logger, Rng, Store } from '@berth/kernel';
import { isBerthError, isPassing, packTxns } from '@berth/kernel';
import type { ServingWorld } from '../domain/endpoints.ts';
import { replacedBy } from '../domain/members.ts';
import { NetworkFacts } from '../domain/network-facts.ts';
import { registryOwner, replicas, scopeOfNetwork } from '../domain/records.ts';
import { RegistryView } from '../domain/registry-view.ts';
import type { PresenceTiming } from '../domain/timing.ts';
import { presenceTiming } from '../domain/timing.ts';
import type { NetworkScopes } from '../domain/writes.ts';
import { removeMember, writeMember } from '../domain/writes.ts';
import { RegistryLeader } from './leader.ts';
import { MemberBoard } from './member-board.ts';
import { NodeStreams } from './node-streams.ts';
import type { Prober } from './ports.ts';
import { ReplicaKeys } from './replica-keys.ts';

/** Time to live of this replica's lease. */
const replicaTtlMs = 5_000;
/** Between two looks whether a member's record still stands. */
const keepMs = 1_000;

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly prober: Prober;
  /** Id of this process, new at every start. */
  readonly replica: string;
  /** Digest of the CAs that this replica trusts now. */
  readonly caSha256: () => string;
  /** The scheduler's resources (tasks are enough). Run by the caller. */
  readonly scheduler: RemoteMirror<SchedulerChange>;
  /** The network-manager's resources. Run by the caller. */
  readonly networks: RemoteMirror<NetworkChange>;
}

/** One replica of the registry: its mirror, the streams it holds and, if elected, the leader's loop. */
export class Registry {
  readonly view = new RegistryView();
  readonly feed: ChangeFeed<Change>;
  readonly board: MemberBoard;
  readonly streams: NodeStreams;
  readonly leader: RegistryLeader;
  /** What serving an endpoint depends on, as this replica sees it. */
  readonly world: ServingWorld;
  /** What writes of endpoints ask of their networks. */
  readonly scopes: NetworkScopes;
  readonly replica: string;
  readonly #options: RegistryOptions;
  readonly #keys: ReplicaKeys;
  #stopping = false;

  constructor(options: RegistryOptions) {
    const { store, clock, rng, log, prober, replica, scheduler, networks } = options;
    const { view } = this;
    this.#options = options;
    this.replica = replica;
    this.feed = new ChangeFeed({ owner: registryOwner, store, view, clock, log });
    this.#keys = new ReplicaKeys({ store, clock, log, ttlMs: replicaTtlMs });
    this.#keys.set(replicas.key(replica), replicas.encode({ id: replica }), { takeOver: true });
    this.board = new MemberBoard({
      clock,
      read: (audience) => {
        const { timing, caSha256 } = this;
        if (audience === 'other') return { members: view.serviceList(), timing, caSha256, revoked: [] };
        const revoked = [...view.revocations.values()].map(({ value }) => value.identity).sort();
        return { members: view.memberList(), timing, caSha256, revoked };
      },
    });
    const timing = (): PresenceTiming => this.timing;
    const facts = new NetworkFacts();
    networks.onStep((step) => {
      // The facts stay while the network-manager is away; what was decided on them too.
      if (step.kind === 'disconnected') return;
      this.leader.networksChanged(facts.apply(step));
    });
    this.streams = new NodeStreams({ replica, keys: this.#keys, clock, rng, timing });
    this.world = {
      get tasksSynced() {
        return scheduler.synced;
      },
      task: (id) => {
        const resource = scheduler.resources.get(`task/${id}`)?.resource;
        return resource?.$case === 'task' ? resource.value : undefined;
      },
      nodeStatus: (id) => view.nodeStatus(id),
      hostname: (id) => view.nodes.get(id)?.value.node?.hostname ?? '',
      networks: facts,
      get networksSynced() {
        return networks.synced;
      },
    };
    this.scopes = {
      endpointCount: (networkId) => view.endpointCount(networkId),
      headOf: (networkId) => this.feed.head(scopeOfNetwork(networkId)),
    };
    const { feed, world, scopes } = this;
    this.leader = new RegistryLeader({
      replica,
      store,
      clock,
      log,
      view,
      feed,
      scheduler,
      world,
      scopes,
      prober,
      timing,
    });
  }

  /** Digest of the CAs that this replica trusts now, and all others are to. */
  get caSha256(): string {
    return this.#options.caSha256();
  }

  /** How often nodes say that they live. */
  get timing(): PresenceTiming {
    return presenceTiming(this.view.nodeCount);
  }

  /** The scheduler's tasks, as this replica mirrors them. */
  *tasks(): Generator<TaskView, void, undefined> {
    for (const { resource } of this.#options.scheduler.resources.values()) {
      if (resource?.$case === 'task') yield resource.value;
    }
  }

  /** Both mirrors have had what decisions need. */
  get synced(): boolean {
    return this.feed.synced && this.#options.scheduler.synced;
  }

  /** Runs until the signal aborts; rejects when something failed that can't be tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => {
      this.#stopping = true;
    };
    signal.addEventListener('abort', stop);
    const end = this.feed.onStep((step) => {
      const news = (key: string): boolean => /^(?:node|member|revocation)\//u.test(key);
      if (step.kind === 'reset' || step.changes.some(({ key }) => news(key))) this.board.touch();
      for (const { resource } of step.changes) {
        if (resource?.$case !== 'node' || resource.value.status !== NodeStatus.NODE_STATUS_LEFT) continue;
        this.streams.removed(resource.value.id);
      }
    });
    try {
      await Promise.all([
        this.feed.run(signal),
        this.#keys.run(signal),
        this.streams.run(signal),
        this.leader.run(signal),
      ]);
    } finally {
      end();
      signal.removeEventListener('abort', stop);
    }
  }

  /**
   * Keeps a service instance on the member list until the signal aborts, then takes it off. When this whole replica stops,
   * the record stays: the instance announces itself elsewhere, and the leader clears what nobody holds. Resolves early
   * when another instance has taken its address: this one died without a word.
   */
  async keepMember(member: Member, signal: AbortSignal): Promise<void> {
    await this.#keepListed(member, signal, (holder) => holder === this.replica);
    if (!this.#stopping) await this.#dismiss(member);
  }

  /** The same for one that every replica knows of and that does not announce itself: any living replica may hold it. */
  async keepSharedMember(member: Member, signal: AbortSignal): Promise<void> {
    await this.#keepListed(member, signal, (holder) => this.view.replicas.get(holder) !== undefined);
  }

  async #keepListed(member: Member, signal: AbortSignal, holds: (replica: string) => boolean): Promise<void> {
    const { clock, log } = this.#options;
    const { identity, instance } = member;
    let listed = false;
    while (!signal.aborted) {
      try {
        await this.feed.waitFor(undefined, signal);
        const holder = this.view.members.get(identity, instance)?.value.replica;
        if (listed && holder === undefined && replacedBy(this.view, member).length > 0) return;
        if (holder === undefined || !holds(holder)) await this.#announce(member);
        listed = true;
      } catch (error) {
        if (signal.aborted) break;
        if (!isPassing(error)) throw error;
        log.warn({ error, identity }, 'a member could not be listed; trying again');
      }
      await clock.sleep(keepMs, signal);
    }
  }

  async #announce(member: Member): Promise<void> {
    const group = writeMember(member, this.replica, replacedBy(this.view, member));
    const result = await this.#options.store.txn({ compares: group.compares, ops: group.ops });
    const epoch = this.feed.revision?.epoch ?? '';
    if (result.committed) await this.feed.waitFor({ epoch, revision: result.revision });
  }

  async #dismiss({ identity, instance }: Member): Promise<void> {
    const record = this.view.members.get(identity, instance);
    if (record?.value.replica !== this.replica) return;
    try {
      for (const txn of packTxns([removeMember(record)])) await this.#options.store.txn(txn);
    } catch (error) {
      // The record is cleared by the leader when this replica is gone, or replaced by the instance's next one.
      if (!isBerthError(error)) throw error;
      this.#options.log.warn({ error, identity }, 'a member could not be taken off the list');
    }
  }
}
