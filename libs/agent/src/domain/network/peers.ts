import type { Lease } from '@berth/contracts/network';

/** A block of a network on another host. */
export interface Peer {
  /** Block in CIDR form. */
  readonly block: string;
  /** Address of its host. */
  readonly address: string;
  /** UDP port at which its host takes VXLAN packets. */
  readonly vxlanPort: number;
}

/** The leases of a network that others hold. A lease with no address is of a node that has not said yet where it is. */
export function peersOf(leases: Iterable<Lease>, ownAddress: string, ownBlocks: ReadonlySet<string>): Peer[] {
  return [...leases]
    .filter(({ address, block }) => address !== '' && address !== ownAddress && !ownBlocks.has(block))
    .map(({ block, address, vxlanPort }) => ({ block, address, vxlanPort }))
    .sort((a, b) => (a.block < b.block ? -1 : 1));
}
