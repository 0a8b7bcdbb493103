import { WriteSet } from '@berth/changes';
import { checkHello } from '@berth/contracts';
import type {
  AnnounceEndpointsRequest,
  AnnounceEndpointsResponse,
  AnnounceMemberRequest,
  AnnounceMemberResponse,
  ConnectHello,
  ConnectRequest,
  ConnectResponse,
  PresenceServiceImplementation,
} from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { CallerContext, Clock, Logger, Store, TxnGroup } from '@berth/kernel';
import { BerthError, formatIdentity, isBerthError, packTxns } from '@berth/kernel';
import type { EndpointWrite } from '../domain/endpoints.ts';
import { faultOf, planAnnouncement } from '../domain/endpoints.ts';
import { describedNode } from '../domain/nodes.ts';
import { sameNode } from '../domain/public.ts';
import { nodes, registryOwner } from '../domain/records.ts';
import { announcementTxns, endpointGroups, heldBy, writeNode } from '../domain/writes.ts';
import type { NodeStream } from './node-streams.ts';
import type { Registry } from './registry.ts';

/** A stream that says nothing for so long after it was opened is closed. */
const helloTimeoutMs = 10_000;
/** Races that a write may lose before its caller has to try again. */
const attemptsMax = 10;
const raceBackoffMs = 10;

export interface PresenceHandlersOptions {
  readonly registry: Registry;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly clusterId: string;
}

/** The last word to a node that was removed: its agent takes everything of Berth off the host. */
const farewell: ConnectResponse = {
  heartbeatIntervalMs: 0,
  leaseMs: 0,
  members: [],
  epoch: '',
  removed: true,
  revokedIdentities: [],
  caSha256: '',
};

interface Call extends CallerContext {
  readonly signal: AbortSignal;
}

/** Serves `berth.registry.v1.PresenceService`. */
export class PresenceHandlers implements PresenceServiceImplementation<CallerContext> {
  readonly #options: PresenceHandlersOptions;

  constructor(options: PresenceHandlersOptions) {
    this.#options = options;
  }

  async *connect(
    requests: AsyncIterable<ConnectRequest>,
    { caller, signal }: Call,
  ): AsyncGenerator<ConnectResponse, void, undefined> {
    const { registry, log } = this.#options;
    const nodeId = nodeOf(caller);
    const incoming = requests[Symbol.asyncIterator]();
    const hello = await this.#hello(incoming);
    const epoch = await this.#describe(nodeId, hello);
    if (epoch === undefined) {
      yield farewell;
      return;
    }
    const ended = new AbortController();
    const stream = registry.streams.open(nodeId, (why) => ended.abort(why));
    // It may have been removed since it was described.
    if (registry.view.nodeStatus(nodeId) === NodeStatus.NODE_STATUS_LEFT) registry.streams.removed(nodeId);
    log.info({ nodeId, stream: stream.id }, 'node connected');
    // Not awaited: it ends with the client's side of the stream, which may outlive this one.
    void this.#heartbeats(incoming, stream).then(
      () => ended.abort(),
      (error: unknown) => ended.abort(error),
    );
    try {
      const audience = registry.view.node(nodeId)?.manager ? 'manager' : 'other';
      for await (const news of registry.board.follow(audience, AbortSignal.any([signal, ended.signal]))) {
        const { members, timing, revoked, caSha256 } = news;
        yield {
          heartbeatIntervalMs: timing.intervalMs,
          leaseMs: timing.leaseMs,
          members,
          epoch,
          removed: false,
          caSha256,
          revokedIdentities: [...revoked],
        };
      }
      if (ended.signal.reason === 'removed') yield farewell;
    } finally {
      registry.streams.close(stream);
      ended.abort();
      log.info({ nodeId, stream: stream.id }, 'node disconnected');
    }
    // A client that breaks the protocol hears so; one that went away hears nothing.
    if (isBerthError(ended.signal.reason, 'InvalidArgument')) throw ended.signal.reason;
  }

  async announceEndpoints(
    request: AnnounceEndpointsRequest,
    { caller, signal }: Call,
  ): Promise<AnnounceEndpointsResponse> {
    const { registry, clock } = this.#options;
    const { view, feed, world, scopes } = registry;
    const nodeId = nodeOf(caller);
    let revision = await feed.waitFor(undefined, signal);
    if (view.nodeStatus(nodeId) === NodeStatus.NODE_STATUS_LEFT) throw nodeLeft();
    for (let attempt = 0; attempt < attemptsMax && !signal.aborted; attempt++) {
      const writes = planAnnouncement({
        nodeId,
        request,
        current: (networkId, taskId) => view.endpoints.get(networkId, taskId),
        ofNode: view.endpointsOfNode(nodeId),
        world,
      });
      const written = await this.#write(nodeId, request, endpointGroups(writes, scopes));
      if (written.revision > 0) revision = { epoch: revision.epoch, revision: written.revision };
      await feed.waitFor(revision, signal);
      if (!written.lost) {
        this.#warnOf(nodeId, writes);
        return { revision };
      }
      // The leader or another call was faster: this replica's mirror will show it in a moment.
      await clock.sleep(raceBackoffMs * (attempt + 1), signal);
    }
    throw new BerthError('Conflict', 'the endpoints change too fast: announce them again', { reason: 'RACE' });
  }

  /** What is announced and not the node's to announce is kept, and shown to nobody. */
  #warnOf(nodeId: string, writes: readonly EndpointWrite[]): void {
    const { registry, log } = this.#options;
    for (const { next } of writes) {
      const fault = next?.endpoint && faultOf(next.endpoint, registry.world);
      if (fault) log.warn({ nodeId, taskId: next.endpoint?.taskId }, `an endpoint is not served: ${fault}`);
    }
  }

  /** Says at which revision it stands (0: nothing was written), and whether a race was lost. */
  async #write(
    nodeId: string,
    { session, sequence }: AnnounceEndpointsRequest,
    groups: readonly TxnGroup[],
  ): Promise<{ revision: number; lost: boolean }> {
    const { registry, store } = this.#options;
    const numbered = session > 0;
    const stands = registry.view.announcements.get(nodeId);
    const txns = numbered ? announcementTxns({ nodeId, session, sequence }, stands, groups) : packTxns(groups);
    let placedAt = 0;
    let revision = 0;
    let lost = false;
    for (const txn of txns) {
      const result = await store.txn(placedAt > 0 ? heldBy(txn, nodeId, placedAt) : txn);
      if (result.committed) revision = result.revision;
      else lost = true;
      // Without its place nothing of it may be written.
      if (lost && numbered) break;
      if (numbered && placedAt === 0) placedAt = revision;
    }
    return { revision, lost };
  }

  async *announceMember(
    request: AnnounceMemberRequest,
    { caller, signal }: Call,
  ): AsyncGenerator<AnnounceMemberResponse, void, undefined> {
    const { registry, clusterId } = this.#options;
    checkHello(request.hello, clusterId);
    const { member } = request;
    if (!member || member.instance === '' || !/^.+:\d{1,5}$/u.test(member.address)) {
      throw new BerthError('InvalidArgument', 'the member has no instance or no address', { reason: 'BAD_MEMBER' });
    }
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    const keeping = registry.keepMember({ ...member, identity: formatIdentity(caller) }, either).then(
      () => ended.abort(),
      (error: unknown) => ended.abort(error),
    );
    try {
      for await (const { members } of registry.board.follow('other', either)) yield { members };
    } finally {
      ended.abort();
      await keeping;
    }
    if (isBerthError(ended.signal.reason)) throw ended.signal.reason;
  }

  async #hello(incoming: AsyncIterator<ConnectRequest>): Promise<ConnectHello> {
    const { clock, clusterId } = this.#options;
    const waiting = new AbortController();
    const first = await Promise.race([
      incoming.next(),
      clock.sleep(helloTimeoutMs, waiting.signal).then(() => undefined),
    ]);
    waiting.abort();
    if (!first) throw new BerthError('DeadlineExceeded', 'no hello came', { reason: 'NO_HELLO' });
    if (first.done || first.value.step?.$case !== 'hello') throw protocolError('the first message must be a hello');
    checkHello(first.value.step.value.hello, clusterId);
    return first.value.step.value;
  }

  /** Brings the node's record in line with what it says of itself; written only if that is new. The epoch; undefined for a
   *  node that was removed. */
  async #describe(nodeId: string, { node }: ConnectHello): Promise<string | undefined> {
    const { registry, store } = this.#options;
    if (!node) throw protocolError('the hello describes no node');
    const { epoch } = await registry.feed.waitFor(undefined);
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      // From the store itself: this replica may not have seen the Join yet.
      const { entry } = await store.get(nodes.key(nodeId));
      if (!entry) {
        throw new BerthError('PermissionDenied', 'this node does not belong to the cluster', {
          reason: 'NODE_UNKNOWN',
        });
      }
      const before = { value: nodes.decode(entry), modRevision: entry.modRevision };
      if (before.value.removed) return undefined;
      const record = describedNode(before.value, node);
      if (sameNode(before.value, record)) return epoch;
      const result = await store.txn(writeNode(new WriteSet(registryOwner), record, before).group());
      if (result.committed) return (await registry.feed.waitFor({ epoch, revision: result.revision })).epoch;
    }
    throw new BerthError('Conflict', 'the node describes itself elsewhere at the same time', { reason: 'RACE' });
  }

  /** Hot: a heartbeat touches memory only. */
  async #heartbeats(incoming: AsyncIterator<ConnectRequest>, stream: NodeStream): Promise<void> {
    const { streams } = this.#options.registry;
    for (let next = await incoming.next(); !next.done; next = await incoming.next()) {
      if (next.value.step?.$case !== 'heartbeat') throw protocolError('only heartbeats follow the hello');
      streams.heard(stream, next.value.step.value);
    }
  }
}

function nodeOf(caller: CallerContext['caller']): string {
  if (caller.role === 'node') return caller.id;
  throw new BerthError('PermissionDenied', 'only a node speaks for a node', { reason: 'NOT_A_NODE' });
}

export function nodeLeft(): BerthError {
  return new BerthError('PermissionDenied', 'this node was removed from the cluster', { reason: 'NODE_LEFT' });
}

function protocolError(what: string): BerthError {
  return new BerthError('InvalidArgument', what, { reason: 'BAD_STREAM' });
}
