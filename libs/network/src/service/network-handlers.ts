import type { WriteSet } from '@berth/changes';
import { checkHello } from '@berth/contracts';
import type {
  ChangesRequest,
  CheckStackRequest,
  CheckStackResponse,
  CompareHeadsRequest,
  Lease,
  LeaseBlockRequest,
  LeaseBlockResponse,
  ListLeasesRequest,
  ListNetworksRequest,
  Network,
  NetworkServiceImplementation,
  ReleaseBlockRequest,
  ReleaseBlockResponse,
  WatchRequest,
} from '@berth/contracts/network';
import type { CallerContext, Clock, Rng, Store } from '@berth/kernel';
import { BerthError, newId, unreachable } from '@berth/kernel';
import type { NetworkSettings } from '@berth/workload';
import { formatCidr, parseCidr } from '@berth/workload';
import { checkStackNetworks } from '../domain/check-stack.ts';
import { decideLease } from '../domain/lease.ts';
import { pickRange } from '../domain/ranges.ts';
import { stillInUse } from '../domain/reconcile.ts';
import type { Stored } from '../domain/records.ts';
import { holders, leases, networks, stored } from '../domain/records.ts';
import { claimId, holderId } from '../domain/tables.ts';
import { confirmLease, growNetwork, moveLease, releaseBlock, takeBlock } from '../domain/writes.ts';
import type { NetworkManager } from './network-manager.ts';

/** Rounds of deciding and losing before a LeaseBlock gives up with Conflict; its caller tries again. */
const leaseAttemptsMax = 40;
/** Rounds of reading and losing before a ReleaseBlock gives up with Conflict; its caller tries again. */
const releaseAttemptsMax = 10;
/** Longest pause after a lost race; short ones let the mirror catch up. */
const raceBackoffMaxMs = 50;

export interface NetworkHandlersOptions {
  readonly manager: NetworkManager;
  readonly store: Store;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly settings: NetworkSettings;
  readonly clusterId: string;
}

interface Call extends CallerContext {
  readonly signal: AbortSignal;
}

/** Serves `berth.network.v1.NetworkService`; any replica may. */
export class NetworkHandlers implements NetworkServiceImplementation<CallerContext> {
  readonly #options: NetworkHandlersOptions;

  constructor(options: NetworkHandlersOptions) {
    this.#options = options;
  }

  async checkStack(request: CheckStackRequest, { signal }: Call): Promise<CheckStackResponse> {
    const { manager, settings } = this.#options;
    await manager.feed.waitFor(undefined, signal);
    const { namespace, stack, networks: specs } = request;
    const { tables, stacks } = manager;
    checkStackNetworks({ namespace, stack, specs, stacks, networks: valuesOf(tables.networks) });
    const current = stacks.find((each) => each.namespace === namespace && each.name === stack && !each.removing);
    const fresh = specs.some(
      (spec) => !current || !(tables.claims.has(claimId(current.id, spec.name)) || stillInUse(tables, current, spec)),
    );
    if (fresh && pickRange(settings, tables.takenUnits, 0) === undefined) throw exhausted(settings);
    return {};
  }

  async listNetworks(_request: ListNetworksRequest, { signal }: Call) {
    const { manager } = this.#options;
    const revision = await manager.feed.waitFor(undefined, signal);
    const all = valuesOf(manager.tables.networks).sort(
      (a, b) => compare(a.namespace, b.namespace) || compare(a.stack, b.stack) || compare(a.name, b.name),
    );
    return { networks: all, leases: all.flatMap(({ id }) => valuesOf(manager.tables.leasesOf(id))), revision };
  }

  async leaseBlock(request: LeaseBlockRequest, { caller, signal }: Call): Promise<LeaseBlockResponse> {
    const { manager, store, clock, rng } = this.#options;
    const nodeId = nodeOf(caller);
    if (request.address !== '') parseCidr(`${request.address}/32`);
    let revision = await manager.feed.waitFor(undefined, signal);
    if (manager.hasLeft(nodeId)) throw new BerthError('PermissionDenied', 'node has left', { reason: 'NODE_LEFT' });
    for (let attempt = 0; attempt < leaseAttemptsMax && !signal.aborted; attempt++) {
      const { network, lease, writes, final } = this.#decide(request, nodeId, attempt);
      const result = await store.txn(writes.group());
      if (result.committed) {
        const at = writes.empty ? undefined : { epoch: revision.epoch, revision: result.revision };
        revision = await manager.feed.waitFor(at, signal);
        if (final) return { network: network.value, lease };
      } else {
        await clock.sleep(1 + rng.next() * Math.min(raceBackoffMaxMs, 2 ** attempt), signal);
      }
    }
    throw new BerthError('Conflict', `too many nodes want a block of network "${request.network}" at once: try again`, {
      reason: 'LEASE_RACE',
    });
  }

  /** What a request comes to, as this replica knows the world; with `final` writes its lease stands. */
  #decide(
    request: LeaseBlockRequest,
    nodeId: string,
    attempt: number,
  ): {
    readonly network: Stored<Network>;
    readonly lease: Lease | undefined;
    readonly writes: WriteSet;
    readonly final?: boolean;
  } {
    const { manager, settings, rng } = this.#options;
    const { tables } = manager;
    const network = this.#networkOf(request);
    const { id: networkId } = network.value;
    const { address, vxlanPort, fullBlocks } = request;
    const decision = decideLease({
      network: network.value,
      leases: tables.leasesOf(networkId),
      takenUnits: tables.takenUnits,
      settings,
      nodeId,
      fullBlocks,
      attempt,
    });
    switch (decision.kind) {
      case 'held': {
        const { value } = decision.lease;
        if (value.address === address && value.vxlanPort === vxlanPort) {
          return { network, lease: value, writes: confirmLease(network, decision.lease), final: true };
        }
        const writes = moveLease(network, decision.lease, { address, vxlanPort });
        return { network, lease: { ...value, address, vxlanPort }, writes, final: true };
      }
      case 'take': {
        const lease = { id: newId(rng), networkId, block: decision.block, nodeId, address, vxlanPort };
        const writes = takeBlock(network, lease, tables.holders.get(holderId(networkId, nodeId)));
        return { network, lease, writes, final: true };
      }
      case 'grow':
        return { network, lease: undefined, writes: growNetwork(settings, network, decision.range) };
      case 'exhausted':
        throw exhausted(settings);
      default:
        return unreachable(decision);
    }
  }

  async releaseBlock(request: ReleaseBlockRequest, { caller }: Call): Promise<ReleaseBlockResponse> {
    const { store } = this.#options;
    const { networkId, block, leaseId } = request;
    const nodeId = nodeOf(caller);
    for (let attempt = 0; attempt < releaseAttemptsMax; attempt++) {
      // The store itself is asked: this replica's mirror may not have seen the lease yet.
      const [found, held] = await Promise.all([
        store.get(leases.key(block)),
        store.get(holders.key(networkId, nodeId)),
      ]);
      const lease = found.entry && stored(leases, found.entry);
      if (lease?.value.networkId !== networkId || lease.value.nodeId !== nodeId) return {};
      if (leaseId !== '' && lease.value.id !== leaseId) return {};
      const holder = held.entry && stored(holders, held.entry);
      if ((await store.txn(releaseBlock(lease, holder).group())).committed) return {};
    }
    throw new BerthError('Conflict', `block ${block} changes all the time: try again`, { reason: 'LEASE_RACE' });
  }

  /** Read from the store itself: a node removes what is missing in the answer. */
  async listLeases(_request: ListLeasesRequest, { caller }: Call) {
    const { store } = this.#options;
    const nodeId = nodeOf(caller);
    const held = await store.list(leases.prefix);
    const mine = held.entries.map((entry) => leases.decode(entry)).filter((lease) => lease.nodeId === nodeId);
    const ids = [...new Set(mine.map((lease) => lease.networkId))];
    const found = await Promise.all(ids.map((id) => store.get(networks.key(id))));
    return { leases: mine, networks: found.flatMap(({ entry }) => (entry ? [networks.decode(entry)] : [])) };
  }

  async *watch(request: WatchRequest, { signal }: Call) {
    checkHello(request.hello, this.#options.clusterId);
    const { since, scopes } = request;
    yield* this.#options.manager.feed.watch({ since, scopes }, signal);
  }

  changes(request: ChangesRequest, { signal }: Call) {
    return this.#options.manager.feed.changes(request.scope, request.since, signal);
  }

  compareHeads(request: CompareHeadsRequest, { signal }: Call) {
    return this.#options.manager.feed.compareHeads(request.heads, request.since, signal);
  }

  #networkOf(request: LeaseBlockRequest): Stored<Network> {
    const { tables } = this.#options.manager;
    const claim = tables.claims.get(claimId(request.stackId, request.network));
    const network = claim && tables.networks.get(claim.value.networkId);
    if (network && !network.value.deleting) return network;
    throw new BerthError('FailedPrecondition', `network "${request.network}" does not exist yet, or no longer`, {
      reason: 'NETWORK_NOT_READY',
    });
  }
}

function exhausted(settings: NetworkSettings): BerthError {
  return new BerthError(
    'Exhausted',
    `the address pool ${formatCidr(settings.pool)} has no free range: remove stacks that are no longer used ` +
      '(a larger pool can be chosen at `berth cluster init`)',
    { reason: 'POOL_EXHAUSTED' },
  );
}

function nodeOf(caller: CallerContext['caller']): string {
  if (caller.role === 'node') return caller.id;
  throw new BerthError('PermissionDenied', 'only a node leases blocks', { reason: 'NOT_A_NODE' });
}

function valuesOf<T extends Lease | Network>(records: ReadonlyMap<string, Stored<T>>): T[] {
  return [...records.values()].map(({ value }) => value);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
