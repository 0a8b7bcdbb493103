import type { Lease as LeaseMessage, Network as NetworkMessage } from '@berth/contracts/network';
import { Holder, Lease, Network, NetworkClaim, RangeUnit, VniClaim } from '@berth/contracts/network';
import type { StoredEntry } from '@berth/kernel';
import { keyFamily } from '@berth/kernel';

/** Prefix of all that the network-manager owns in the store. */
export const networkOwner = 'network';

export function scopeOfNetwork(networkId: string): string {
  return `network.${networkId}`;
}

/** A record with the revision at which it was read, for compares. */
export interface Stored<T> {
  readonly value: T;
  readonly modRevision: number;
}

export function stored<T>(family: { decode(entry: StoredEntry): T }, entry: StoredEntry): Stored<T> {
  return { value: family.decode(entry), modRevision: entry.modRevision };
}

/** `network/network/<id>`: the network, public as it stands. */
export const networks = keyFamily<NetworkMessage>({
  owner: networkOwner,
  kind: 'network',
  codec: Network,
  id: (network) => [network.id],
  scopes: (network) => [scopeOfNetwork(network.id)],
});

/** `network/claim/<stack>/<name>`: which network has a stack's name now. */
export const claims = keyFamily<NetworkClaim>({
  owner: networkOwner,
  kind: 'claim',
  codec: NetworkClaim,
  id: (claim) => [claim.stackId, claim.name],
});

/** `network/range/<unit>`: the pool, in units that can be taken once. */
export const rangeUnits = keyFamily<RangeUnit>({
  owner: networkOwner,
  kind: 'range',
  codec: RangeUnit,
  id: (unit) => [unit.unit],
});

/** `network/vni/<vni>`: VXLAN network identifiers that are taken. */
export const vnis = keyFamily<VniClaim>({
  owner: networkOwner,
  kind: 'vni',
  codec: VniClaim,
  id: (claim) => [String(claim.vni)],
});

/** `network/holder/<network>/<node>`: the blocks of a network that a node holds. */
export const holders = keyFamily<Holder>({
  owner: networkOwner,
  kind: 'holder',
  codec: Holder,
  id: (holder) => [holder.networkId, holder.nodeId],
});

/** `network/block/<block>`: a block and the node that holds it, public as it stands. */
export const leases = keyFamily<LeaseMessage>({
  owner: networkOwner,
  kind: 'block',
  codec: Lease,
  id: (lease) => [lease.block],
  scopes: (lease) => [scopeOfNetwork(lease.networkId)],
});
