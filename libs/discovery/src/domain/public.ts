import type { Change, Endpoint, Member, Node, NodeStatusRecord, Revocation } from '@berth/contracts/registry';
import { EndpointRecord, NodeRecord, NodeStatus } from '@berth/contracts/registry';
import { controlPlaneScope, scopeOfNetwork, scopeOfNode } from './records.ts';

/** A node as everybody sees it: what it said of itself, and the leader's word on its presence; removed, it has left. */
export function publicNode(record: NodeRecord | undefined, status: NodeStatusRecord | undefined): Node | undefined {
  if (!record?.node) return undefined;
  if (record.removed) {
    return { ...record.node, status: NodeStatus.NODE_STATUS_LEFT, dispatchSynced: false, statusReason: 'removed' };
  }
  return {
    ...record.node,
    status: status?.status ?? NodeStatus.NODE_STATUS_UNSPECIFIED,
    dispatchSynced: status?.dispatchSynced ?? false,
    statusReason: status?.reason ?? '',
    publicKeySha256: record.publicKeySha256,
  };
}

/** An endpoint is public only while it serves. */
export function publicEndpoint(record: EndpointRecord | undefined): Endpoint | undefined {
  return record?.serving ? record.endpoint : undefined;
}

export function nodeChange(id: string, node: Node | undefined): Change {
  return { scopes: [scopeOfNode(id)], key: `node/${id}`, resource: node && { $case: 'node', value: node } };
}

export function endpointChange(
  id: { readonly networkId: string; readonly taskId: string },
  endpoint: Endpoint | undefined,
): Change {
  return {
    scopes: [scopeOfNetwork(id.networkId)],
    key: `endpoint/${id.networkId}/${id.taskId}`,
    resource: endpoint && { $case: 'endpoint', value: endpoint },
  };
}

export function memberChange(id: { readonly identity: string; readonly instance: string }, member?: Member): Change {
  return {
    scopes: [controlPlaneScope],
    key: `member/${id.identity}/${id.instance}`,
    resource: member && { $case: 'member', value: member },
  };
}

/** In no scope: mirrors get it, events do not tell of it. */
export function revocationChange(identity: string, value: Revocation | undefined): Change {
  return { scopes: [], key: `revocation/${identity}`, resource: value && { $case: 'revocation', value } };
}

/** A node as a member: how others reach its agent. */
export function memberOfNode(node: Node): Member {
  return {
    identity: `node:${node.id}`,
    instance: node.id,
    address: `${node.address}:${node.agentPort}`,
    hostname: node.hostname,
    version: node.version,
  };
}

export function sameEndpoint(a: EndpointRecord, b: EndpointRecord): boolean {
  return sameBytes(EndpointRecord.encode(a).finish(), EndpointRecord.encode(b).finish());
}

export function sameNode(a: NodeRecord, b: NodeRecord): boolean {
  return sameBytes(NodeRecord.encode(sortMaps(a)).finish(), NodeRecord.encode(sortMaps(b)).finish());
}

/** Maps have no order on the wire; without one, equal descriptions would differ. */
function sortMaps(record: NodeRecord): NodeRecord {
  const { node } = record;
  if (!node) return record;
  return { ...record, node: { ...node, labels: sorted(node.labels), engineLabels: sorted(node.engineLabels) } };
}

function sorted(map: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
