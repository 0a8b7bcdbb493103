import type { FeedStep } from '@berth/changes';
import type { Change } from '@berth/contracts/network';
import { Lease } from '@berth/contracts/network';
import type { Clock, Disk, Logger, Revision } from '@berth/kernel';
import { NetworkCache } from '../network-cache.ts';

export interface PeerCacheOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when leases of a network have changed. */
  readonly onChange: () => void;
}

/** Who holds which block of the networks that this host carries: fed by the network-manager's changes, kept on disk. */
export class PeerCache {
  readonly #cache: NetworkCache<Lease>;
  readonly #onChange: () => void;

  constructor({ onChange, ...ports }: PeerCacheOptions) {
    this.#onChange = onChange;
    this.#cache = new NetworkCache({
      ...ports,
      folder: 'cache/peers',
      what: 'peers',
      toJson: (lease) => Lease.toJSON(lease),
      fromJson: (json) => Lease.fromJSON(json),
      keyOf: (lease) => lease.block,
    });
  }

  load(): Promise<void> {
    return this.#cache.load();
  }

  /** Revision up to which a network is held; undefined if it is not. */
  revisionOf(networkId: string): Revision | undefined {
    return this.#cache.revisionOf(networkId);
  }

  /** All leases of a network; undefined while they are not known. */
  leasesOf(networkId: string): Iterable<Lease> | undefined {
    return this.#cache.of(networkId)?.values();
  }

  /** Takes what the network-manager says of a network. */
  apply(networkId: string, step: FeedStep<Change>): void {
    const leases = step.changes.filter(({ key }) => key.startsWith('lease/'));
    this.#cache.apply(networkId, {
      reset: step.kind === 'reset',
      revision: step.revision,
      // Keys are `lease/<network>/<block>`, and blocks have a `/` of their own.
      changes: leases.map(({ key, resource }) => [
        key.split('/').slice(2).join('/'),
        resource?.$case === 'lease' ? resource.value : undefined,
      ]),
    });
    if (step.kind === 'reset' || leases.length > 0) this.#onChange();
  }

  /** The host no longer carries these networks: only the named ones stay. */
  keep(networkIds: ReadonlySet<string>): void {
    this.#cache.keep(networkIds);
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#cache.run(signal);
  }
}
