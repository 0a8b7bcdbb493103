import type { Change, Holder, Lease, Network, NetworkClaim, RangeUnit } from '@berth/contracts/network';
import type { MirrorChange, StoredEntry } from '@berth/kernel';
import type { Stored } from './records.ts';
import { claims, holders, leases, networks, rangeUnits, scopeOfNetwork, stored, vnis } from './records.ts';

/** What decisions read. */
export interface NetworkState {
  readonly networks: ReadonlyMap<string, Stored<Network>>;
  /** By `claimId`. */
  readonly claims: ReadonlyMap<string, Stored<NetworkClaim>>;
  /** Taken units of the pool. */
  readonly takenUnits: ReadonlySet<string>;
  /** VXLAN network identifiers that are taken. */
  readonly takenVnis: ReadonlySet<number>;
  /** What each node holds of each network, by `holderId`. */
  readonly holders: ReadonlyMap<string, Stored<Holder>>;
  /** Leases of a network by block. */
  leasesOf(networkId: string): ReadonlyMap<string, Stored<Lease>>;
}

export function claimId(stackId: string, name: string): string {
  return `${stackId}/${name}`;
}

export function holderId(networkId: string, nodeId: string): string {
  return `${networkId}/${nodeId}`;
}

const noLeases: ReadonlyMap<string, Stored<Lease>> = new Map();

/** The network-manager's records in memory, and the public changes they make: networks and leases are public as stored,
 *  all else is private. */
export class NetworkTables implements NetworkState {
  readonly networks = new Map<string, Stored<Network>>();
  readonly claims = new Map<string, Stored<NetworkClaim>>();
  readonly takenUnits = new Set<string>();
  readonly takenVnis = new Set<number>();
  readonly holders = new Map<string, Stored<Holder>>();
  readonly #leases = new Map<string, Map<string, Stored<Lease>>>();
  /** Values by key, to tell what a deleted key stood for. */
  readonly #networkKeys = new Map<string, Network>();
  readonly #claimKeys = new Map<string, NetworkClaim>();
  readonly #unitKeys = new Map<string, RangeUnit>();
  readonly #vniKeys = new Map<string, number>();
  readonly #holderKeys = new Map<string, Holder>();
  readonly #leaseKeys = new Map<string, Lease>();

  leasesOf(networkId: string): ReadonlyMap<string, Stored<Lease>> {
    return this.#leases.get(networkId) ?? noLeases;
  }

  allLeases(): Lease[] {
    return [...this.#leaseKeys.values()];
  }

  reset(entries: readonly StoredEntry[]): readonly Change[] {
    this.networks.clear();
    this.claims.clear();
    this.takenUnits.clear();
    this.takenVnis.clear();
    this.holders.clear();
    this.#leases.clear();
    this.#networkKeys.clear();
    this.#claimKeys.clear();
    this.#unitKeys.clear();
    this.#vniKeys.clear();
    this.#holderKeys.clear();
    this.#leaseKeys.clear();
    for (const entry of entries) this.#put(entry);
    return this.snapshot();
  }

  apply(changes: readonly MirrorChange[]): readonly Change[] {
    return changes.flatMap((change) => (change.kind === 'put' ? this.#put(change.entry) : this.#delete(change.key)));
  }

  snapshot(): readonly Change[] {
    return [
      ...[...this.networks.values()].map(({ value }) => networkChange(value)),
      ...this.allLeases().map((lease) => leaseChange(lease)),
    ];
  }

  #put(entry: StoredEntry): Change[] {
    if (networks.owns(entry.key)) {
      const network = stored(networks, entry);
      this.networks.set(network.value.id, network);
      this.#networkKeys.set(entry.key, network.value);
      return [networkChange(network.value)];
    }
    if (leases.owns(entry.key)) {
      const lease = stored(leases, entry);
      const { networkId, block } = lease.value;
      this.#dropLease(entry.key);
      this.#leaseKeys.set(entry.key, lease.value);
      const ofNetwork = this.#leases.get(networkId) ?? new Map<string, Stored<Lease>>();
      this.#leases.set(networkId, ofNetwork.set(block, lease));
      return [leaseChange(lease.value)];
    }
    if (claims.owns(entry.key)) {
      const claim = stored(claims, entry);
      this.claims.set(claimId(claim.value.stackId, claim.value.name), claim);
      this.#claimKeys.set(entry.key, claim.value);
    } else if (rangeUnits.owns(entry.key)) {
      const unit = rangeUnits.decode(entry);
      this.takenUnits.add(unit.unit);
      this.#unitKeys.set(entry.key, unit);
    } else if (vnis.owns(entry.key)) {
      const { vni } = vnis.decode(entry);
      this.takenVnis.add(vni);
      this.#vniKeys.set(entry.key, vni);
    } else if (holders.owns(entry.key)) {
      const holder = stored(holders, entry);
      this.holders.set(holderId(holder.value.networkId, holder.value.nodeId), holder);
      this.#holderKeys.set(entry.key, holder.value);
    }
    return [];
  }

  #delete(key: string): Change[] {
    if (networks.owns(key)) {
      const gone = this.#networkKeys.get(key);
      if (!gone) return [];
      this.#networkKeys.delete(key);
      this.networks.delete(gone.id);
      return [{ ...networkChange(gone), resource: undefined }];
    }
    const lease = this.#dropLease(key);
    if (lease) return [{ ...leaseChange(lease), resource: undefined }];
    const claim = this.#claimKeys.get(key);
    if (claim) this.claims.delete(claimId(claim.stackId, claim.name));
    this.#claimKeys.delete(key);
    const unit = this.#unitKeys.get(key);
    if (unit) this.takenUnits.delete(unit.unit);
    this.#unitKeys.delete(key);
    const vni = this.#vniKeys.get(key);
    if (vni !== undefined) this.takenVnis.delete(vni);
    this.#vniKeys.delete(key);
    const holder = this.#holderKeys.get(key);
    if (holder) this.holders.delete(holderId(holder.networkId, holder.nodeId));
    this.#holderKeys.delete(key);
    return [];
  }

  #dropLease(key: string): Lease | undefined {
    const lease = this.#leaseKeys.get(key);
    if (!lease) return undefined;
    this.#leaseKeys.delete(key);
    const ofNetwork = this.#leases.get(lease.networkId);
    ofNetwork?.delete(lease.block);
    if (ofNetwork?.size === 0) this.#leases.delete(lease.networkId);
    return lease;
  }
}

function networkChange(network: Network): Change {
  return {
    scopes: [scopeOfNetwork(network.id)],
    key: `network/${network.id}`,
    resource: { $case: 'network', value: network },
  };
}

function leaseChange(lease: Lease): Change {
  return {
    scopes: [scopeOfNetwork(lease.networkId)],
    key: `lease/${lease.networkId}/${lease.block}`,
    resource: { $case: 'lease', value: lease },
  };
}
