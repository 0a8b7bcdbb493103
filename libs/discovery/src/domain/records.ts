import {
  AnnouncementRecord,
  BrakeRecord,
  EndpointRecord,
  IssuedCertificate,
  JoinToken,
  MemberRecord,
  NodeKey,
  NodeRecord,
  NodeStatusRecord,
  Presence,
  Replica,
  Revocation,
} from '@berth/contracts/registry';
import type { KeyFamily } from '@berth/kernel';
import { assert, keyFamily } from '@berth/kernel';

/** Prefix of all that the registry owns in the store. */
export const registryOwner = 'registry';

/** Election whose winner moves node statuses and keeps endpoints and members right. */
export const leaderKey = 'registry/leader/presence';

/** Scope of the control plane's service instances, which belong to no node's own scope. */
export const controlPlaneScope = 'node.control-plane';

export function scopeOfNode(nodeId: string): string {
  return `node.${nodeId}`;
}

const networkScope = 'network.';

export function scopeOfNetwork(networkId: string): string {
  return networkScope + networkId;
}

/** The network whose scope it is; undefined for another scope. */
export function networkOfScope(scope: string): string | undefined {
  return scope.startsWith(networkScope) ? scope.slice(networkScope.length) : undefined;
}

/*
 * No family names scopes: a head is touched only where the public resource changes, and that is known to the writes
 * (writes.ts), not to a record alone. Else readers would look for changes that are not there.
 */

/** `registry/node/<id>` */
export const nodes: KeyFamily<NodeRecord> = keyFamily<NodeRecord>({
  owner: registryOwner,
  kind: 'node',
  codec: NodeRecord,
  id: (record) => {
    assert(record.node, 'a node record describes a node');
    return [record.node.id];
  },
});

/** `registry/node-key/<sha256>` */
export const nodeKeys: KeyFamily<NodeKey> = keyFamily<NodeKey>({
  owner: registryOwner,
  kind: 'node-key',
  codec: NodeKey,
  id: (record) => [record.publicKeySha256],
});

/** `registry/manager/first`: the one node that was a manager by its own word. */
export const firstManagers: KeyFamily<NodeKey> = keyFamily<NodeKey>({
  owner: registryOwner,
  kind: 'manager',
  codec: NodeKey,
  id: () => ['first'],
});

/** `registry/status/<node>` */
export const statuses: KeyFamily<NodeStatusRecord> = keyFamily<NodeStatusRecord>({
  owner: registryOwner,
  kind: 'status',
  codec: NodeStatusRecord,
  id: (record) => [record.nodeId],
});

/** `registry/presence/<node>`, under the lease of the replica that holds the stream. */
export const presences: KeyFamily<Presence> = keyFamily<Presence>({
  owner: registryOwner,
  kind: 'presence',
  codec: Presence,
  id: (record) => [record.nodeId],
});

/** `registry/replica/<id>`, under the replica's own lease. */
export const replicas: KeyFamily<Replica> = keyFamily<Replica>({
  owner: registryOwner,
  kind: 'replica',
  codec: Replica,
  id: (record) => [record.id],
});

/** `registry/brake/nodes`: one for the cluster. */
export const brakes: KeyFamily<BrakeRecord> = keyFamily<BrakeRecord>({
  owner: registryOwner,
  kind: 'brake',
  codec: BrakeRecord,
  id: () => ['nodes'],
});

/** `registry/endpoint/<network>/<task>` */
export const endpoints: KeyFamily<EndpointRecord> = keyFamily<EndpointRecord>({
  owner: registryOwner,
  kind: 'endpoint',
  codec: EndpointRecord,
  id: (record) => {
    assert(record.endpoint, 'an endpoint record holds an endpoint');
    return [record.endpoint.networkId, record.endpoint.taskId];
  },
});

/** `registry/announcement/<node>` */
export const announcements: KeyFamily<AnnouncementRecord> = keyFamily<AnnouncementRecord>({
  owner: registryOwner,
  kind: 'announcement',
  codec: AnnouncementRecord,
  id: (record) => [record.nodeId],
});

/** `registry/member/<identity>/<instance>` */
export const members: KeyFamily<MemberRecord> = keyFamily<MemberRecord>({
  owner: registryOwner,
  kind: 'member',
  codec: MemberRecord,
  id: (record) => {
    assert(record.member, 'a member record holds a member');
    return [record.member.identity, record.member.instance];
  },
});

/** `registry/certificate/<serial>` */
export const certificates: KeyFamily<IssuedCertificate> = keyFamily<IssuedCertificate>({
  owner: registryOwner,
  kind: 'certificate',
  codec: IssuedCertificate,
  id: (record) => [record.serial],
});

/** `registry/token/<sha256>` */
export const tokens: KeyFamily<JoinToken> = keyFamily<JoinToken>({
  owner: registryOwner,
  kind: 'token',
  codec: JoinToken,
  id: (record) => [record.secretSha256],
});

/** May a host still join with it? */
export function isTokenValid(token: JoinToken, nowMs: number): boolean {
  return token.expiresAtMs === 0 || nowMs < token.expiresAtMs;
}

/** `registry/revocation/<identity>` */
export const revocations: KeyFamily<Revocation> = keyFamily<Revocation>({
  owner: registryOwner,
  kind: 'revocation',
  codec: Revocation,
  id: (record) => [record.identity],
});
