import { WriteSet } from '@berth/changes';
import type {
  AnnouncementRecord,
  BrakeRecord,
  Member,
  MemberRecord,
  NodeRecord,
  NodeStatusRecord,
  Presence,
} from '@berth/contracts/registry';
import type { TxnGroup, TxnRequest } from '@berth/kernel';
import { BerthError, headKey, packTxns, txnOpsMax } from '@berth/kernel';
import type { EndpointWrite } from './endpoints.ts';
import { publicEndpoint } from './public.ts';
import type { Stored } from './record-table.ts';
import {
  announcements,
  brakes,
  controlPlaneScope,
  endpoints,
  members,
  networkOfScope,
  nodes,
  presences,
  registryOwner,
  scopeOfNetwork,
  scopeOfNode,
  statuses,
} from './records.ts';

/** Head, fence and the place of an announcement leave room for this many endpoints in one txn. */
const endpointsPerGroupMax = txnOpsMax - 4;

/** What is known of a network's scope where endpoints are written. */
export interface NetworkScopes {
  /** Endpoints announced in the network. */
  endpointCount(networkId: string): number;
  /** Revision of the scope's head; undefined if it has none. */
  headOf(networkId: string): number | undefined;
}

/**
 * Endpoints to write, one group per network where it fits into a txn: readers then see a full batch of a network at one
 * revision. Each write holds only if the record is as it was read. A network's head goes with its last endpoint, so that a
 * stack that is gone leaves no key behind; that holds only if nothing else happened in the scope.
 */
export function endpointGroups(writes: readonly EndpointWrite[], scopes: NetworkScopes): TxnGroup[] {
  const byNetwork = new Map<string, EndpointWrite[]>();
  for (const write of writes) {
    const networkId = (write.next ?? write.before?.value)?.endpoint?.networkId ?? '';
    const ofNetwork = byNetwork.get(networkId);
    if (ofNetwork) ofNetwork.push(write);
    else byNetwork.set(networkId, [write]);
  }
  const groups: TxnGroup[] = [];
  for (const [networkId, ofNetwork] of byNetwork) {
    const added = ofNetwork.filter(({ before, next }) => next && !before).length;
    const removed = ofNetwork.filter(({ before, next }) => before && !next).length;
    const emptied = removed > 0 && scopes.endpointCount(networkId) + added === removed;
    for (let start = 0; start < ofNetwork.length; start += endpointsPerGroupMax) {
      const chunk = ofNetwork.slice(start, start + endpointsPerGroupMax);
      const set = new WriteSet(registryOwner);
      for (const write of chunk) writeEndpoint(set, networkId, write);
      if (emptied && start + endpointsPerGroupMax >= ofNetwork.length) {
        dropHead(set, networkId, scopes.headOf(networkId));
      }
      groups.push(set.group());
    }
  }
  return groups;
}

/**
 * Takes away the heads of networks in which nothing is announced. Where two nodes withdraw their last endpoints at once, at
 * two replicas, each sees the other's and neither drops the head.
 */
export function emptyHeadGroups(headed: Iterable<string>, scopes: NetworkScopes): TxnGroup[] {
  return [...headed].flatMap((scope) => {
    const networkId = networkOfScope(scope);
    if (networkId === undefined || scopes.endpointCount(networkId) > 0) return [];
    const set = new WriteSet(registryOwner);
    dropHead(set, networkId, scopes.headOf(networkId));
    return [set.group()];
  });
}

/**
 * An announcement's txns, in order: the first takes its place among the node's, the others hold only while no newer one has
 * come, which is said to them by `heldBy` with the revision of the first. `groups` as of `endpointGroups`. Throws
 * FailedPrecondition (STALE_ANNOUNCEMENT) for one that is older than what stands.
 */
export function announcementTxns(
  record: AnnouncementRecord,
  stands: Stored<AnnouncementRecord> | undefined,
  groups: readonly TxnGroup[],
): readonly TxnRequest[] {
  const last = stands?.value ?? { session: 0, sequence: 0 };
  if (record.session < last.session || (record.session === last.session && record.sequence < last.sequence)) {
    throw new BerthError('FailedPrecondition', 'a newer announcement of this node stands', {
      reason: 'STALE_ANNOUNCEMENT',
      details: { session: String(last.session) },
    });
  }
  const set = new WriteSet(registryOwner);
  const place = (stands ? set.update(announcements, record, stands) : set.create(announcements, record)).group();
  const [first, ...rest] = groups;
  const whole = {
    compares: [...place.compares, ...(first?.compares ?? [])],
    ops: [...place.ops, ...(first?.ops ?? [])],
  };
  return packTxns([whole, ...rest], place.compares[0]);
}

/** A later txn of an announcement whose first was written at `revision`. */
export function heldBy(txn: TxnRequest, nodeId: string, revision: number): TxnRequest {
  const key = announcements.key(nodeId);
  const others = txn.compares.filter((compare) => compare.key !== key);
  return { ...txn, compares: [{ kind: 'unchanged', key, modRevision: revision }, ...others] };
}

function dropHead(set: WriteSet, networkId: string, modRevision: number | undefined): void {
  if (modRevision === undefined) return;
  const scope = scopeOfNetwork(networkId);
  set.dropScope(scope).compare({ kind: 'unchanged', key: headKey(registryOwner, scope), modRevision });
}

function writeEndpoint(set: WriteSet, networkId: string, { before, next }: EndpointWrite): void {
  if (next && before) set.update(endpoints, next, before);
  else if (next) set.create(endpoints, next);
  else if (before) set.delete(endpoints, before.value, before);
  if (publicEndpoint(before?.value) || publicEndpoint(next)) set.touch(scopeOfNetwork(networkId));
}

/** A node as it joins or describes itself anew. */
export function writeNode(set: WriteSet, record: NodeRecord, before: Stored<NodeRecord> | undefined): WriteSet {
  if (before) set.update(nodes, record, before);
  else set.create(nodes, record);
  return set.touch(scopeOfNode(record.node?.id ?? ''));
}

/** A node's status, decided on what must still stand: its presence, else it spoke meanwhile; its record, else it may have
 *  been removed. */
export function writeStatus(
  status: NodeStatusRecord,
  presence: Stored<Presence> | undefined,
  node: Stored<NodeRecord>,
): TxnGroup {
  const key = presences.key(status.nodeId);
  return new WriteSet(registryOwner)
    .compare(presence ? { kind: 'unchanged', key, modRevision: presence.modRevision } : { kind: 'absent', key })
    .compare({ kind: 'unchanged', key: nodes.key(status.nodeId), modRevision: node.modRevision })
    .put(statuses, status)
    .touch(scopeOfNode(status.nodeId))
    .group();
}

/** A node is taken out of the cluster: its record stays, its status goes. */
export function removeNode(
  node: Stored<NodeRecord>,
  status: Stored<NodeStatusRecord> | undefined,
  announcement: Stored<AnnouncementRecord> | undefined,
): TxnGroup {
  const set = new WriteSet(registryOwner).update(nodes, { ...node.value, removed: true }, node);
  if (status) set.delete(statuses, status.value);
  if (announcement) set.delete(announcements, announcement.value);
  return set.touch(scopeOfNode(node.value.node?.id ?? '')).group();
}

/** The brake as it is to stand; undefined takes the record away. */
export function writeBrake(next: BrakeRecord | undefined, before: Stored<BrakeRecord> | undefined): TxnGroup {
  const set = new WriteSet(registryOwner);
  if (next && before) set.update(brakes, next, before);
  else if (next) set.create(brakes, next);
  else if (before) set.delete(brakes, before.value, before);
  return set.group();
}

/** A service instance comes on the member list; those it replaces go in the same txn. */
export function writeMember(member: Member, replica: string, replaced: readonly Stored<MemberRecord>[]): TxnGroup {
  const set = new WriteSet(registryOwner).put(members, { member, replica }).touch(controlPlaneScope);
  for (const record of replaced) set.delete(members, record.value, record);
  return set.group();
}

/** A service instance leaves the member list, unless it has announced itself anew. */
export function removeMember(record: Stored<MemberRecord>): TxnGroup {
  return new WriteSet(registryOwner).delete(members, record.value, record).touch(controlPlaneScope).group();
}
