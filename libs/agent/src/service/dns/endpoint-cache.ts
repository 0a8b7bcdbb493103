import type { FeedStep } from '@berth/changes';
import type { Change } from '@berth/contracts/registry';
import { Endpoint } from '@berth/contracts/registry';
import type { Clock, Disk, Logger, Revision } from '@berth/kernel';
import type { DnsTable } from '../../domain/dns/dns-table.ts';
import { NetworkCache } from '../network-cache.ts';

export interface EndpointCacheOptions {
  readonly dns: DnsTable;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Endpoints of the networks that this host carries: fed by the registry's changes, it keeps the DNS table up to date, and
 *  a copy on disk, so that an agent that restarts answers at once. */
export class EndpointCache {
  readonly #dns: DnsTable;
  readonly #cache: NetworkCache<Endpoint>;

  constructor({ dns, ...ports }: EndpointCacheOptions) {
    this.#dns = dns;
    this.#cache = new NetworkCache({
      ...ports,
      folder: 'cache/endpoints',
      what: 'endpoints',
      toJson: (endpoint) => Endpoint.toJSON(endpoint),
      fromJson: (json) => Endpoint.fromJSON(json),
      keyOf: (endpoint) => endpoint.taskId,
    });
  }

  /** Reads the copies on disk into the DNS table. */
  async load(): Promise<void> {
    await this.#cache.load();
    for (const networkId of this.#cache.networkIds) {
      this.#dns.resetNetwork(networkId, [...(this.#cache.of(networkId)?.values() ?? [])]);
    }
  }

  /** Revision up to which a network is held; undefined if it is not. */
  revisionOf(networkId: string): Revision | undefined {
    return this.#cache.revisionOf(networkId);
  }

  /** Takes what the registry says of a network. */
  apply(networkId: string, step: FeedStep<Change>): void {
    const reset = step.kind === 'reset' || this.#cache.of(networkId) === undefined;
    if (reset) this.#dns.resetNetwork(networkId, []);
    const changes: [string, Endpoint | undefined][] = [];
    for (const { key, resource } of step.changes) {
      if (resource?.$case === 'endpoint') {
        changes.push([resource.value.taskId, resource.value]);
        this.#dns.put(resource.value);
      } else if (resource === undefined) {
        // Keys are `endpoint/<network>/<task>`.
        const taskId = key.split('/').at(-1) ?? '';
        changes.push([taskId, undefined]);
        this.#dns.delete(networkId, taskId);
      }
    }
    this.#cache.apply(networkId, { reset, revision: step.revision, changes });
  }

  /** The host no longer carries these networks: only the named ones stay. */
  keep(networkIds: ReadonlySet<string>): void {
    for (const networkId of this.#cache.keep(networkIds)) this.#dns.removeNetwork(networkId);
  }

  /** Writes what changed to disk until the signal aborts, and once more then. */
  run(signal: AbortSignal): Promise<void> {
    return this.#cache.run(signal);
  }
}
