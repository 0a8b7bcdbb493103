import type { FeedStep } from '@berth/changes';
import type { Change } from '@berth/contracts/registry';
import { Endpoint } from '@berth/contracts/registry';
import type { Clock, Disk, Logger, Revision } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { DnsTable } from '../../domain/dns/dns-table.ts';
import { seal, unseal } from '../../domain/sealed.ts';

const folder = 'cache/endpoints';
/** A burst of changes is written to disk once. */
const writeDelayMs = 500;
/** A disk that refuses is tried again after this time. */
const writeRetryMs = 5_000;

interface HeldNetwork {
  revision: Revision;
  readonly endpoints: Map<string, Endpoint>;
}

interface CacheFile {
  readonly version: 1;
  readonly networkId: string;
  readonly revision: Revision;
  readonly endpoints: readonly unknown[];
}

export interface EndpointCacheOptions {
  readonly dns: DnsTable;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Endpoints of the networks that this host carries: fed by the registry's changes, it keeps the DNS table up to date, and
 * a copy on disk, so that an agent that restarts answers at once, with or without a control plane.
 */
export class EndpointCache {
  readonly #options: EndpointCacheOptions;
  readonly #networks = new Map<string, HeldNetwork>();
  readonly #dirty = new Set<string>();
  #wake: (() => void) | undefined;

  constructor(options: EndpointCacheOptions) {
    this.#options = options;
  }

  /** Reads the copies on disk into the DNS table. A damaged one is as good as none. */
  async load(): Promise<void> {
    const { disk, dns, log } = this.#options;
    for (const name of await disk.list(folder)) {
      const file = await disk.read(`${folder}/${name}`);
      const payload = file && unseal(file);
      if (payload === undefined) {
        log.warn({ file: name }, 'a cache of endpoints is damaged; the registry will tell again');
        continue;
      }
      const content = JSON.parse(new TextDecoder().decode(payload)) as CacheFile;
      if (content.version !== 1) continue;
      const endpoints = content.endpoints.map((endpoint) => Endpoint.fromJSON(endpoint));
      const held = { revision: content.revision, endpoints: new Map(endpoints.map((e) => [e.taskId, e])) };
      this.#networks.set(content.networkId, held);
      dns.resetNetwork(content.networkId, endpoints);
    }
  }

  /** Revision up to which a network is held; undefined if it is not. */
  revisionOf(networkId: string): Revision | undefined {
    return this.#networks.get(networkId)?.revision;
  }

  /** Takes what the registry says of a network. */
  apply(networkId: string, step: FeedStep<Change>): void {
    const { dns } = this.#options;
    let held = this.#networks.get(networkId);
    if (step.kind === 'reset' || !held) {
      held = { revision: step.revision, endpoints: new Map() };
      this.#networks.set(networkId, held);
      dns.resetNetwork(networkId, []);
    }
    for (const { key, resource } of step.changes) {
      if (resource?.$case === 'endpoint') {
        held.endpoints.set(resource.value.taskId, resource.value);
        dns.put(resource.value);
      } else if (resource === undefined) {
        // Keys are `endpoint/<network>/<task>`.
        const taskId = key.split('/').at(-1) ?? '';
        held.endpoints.delete(taskId);
        dns.delete(networkId, taskId);
      }
    }
    held.revision = step.revision;
    this.#touch(networkId);
  }

  /** The host no longer carries these networks: only the named ones stay. */
  keep(networkIds: ReadonlySet<string>): void {
    for (const networkId of this.#networks.keys()) {
      if (networkIds.has(networkId)) continue;
      this.#networks.delete(networkId);
      this.#options.dns.removeNetwork(networkId);
      this.#touch(networkId);
    }
  }

  /** Writes what changed to disk until the signal aborts, and once more then. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#dirty.size === 0) await this.#changed(signal);
      await this.#options.clock.sleep(writeDelayMs, signal);
      if (!(await this.#write())) await this.#options.clock.sleep(writeRetryMs, signal);
    }
  }

  /** False if the disk refused: what it did not take stays dirty. */
  async #write(): Promise<boolean> {
    const { log } = this.#options;
    for (const networkId of [...this.#dirty]) {
      this.#dirty.delete(networkId);
      try {
        await this.#writeNetwork(networkId);
      } catch (error) {
        if (!isBerthError(error)) throw error;
        this.#dirty.add(networkId);
        log.error({ error: error.message }, 'endpoints could not be kept; trying again');
        return false;
      }
    }
    return true;
  }

  async #writeNetwork(networkId: string): Promise<void> {
    const { disk } = this.#options;
    const name = `${folder}/${networkId}`;
    const held = this.#networks.get(networkId);
    if (!held) {
      await disk.remove(name);
      return;
    }
    const content: CacheFile = {
      version: 1,
      networkId,
      revision: held.revision,
      endpoints: [...held.endpoints.values()].map((endpoint) => Endpoint.toJSON(endpoint)),
    };
    await disk.write(name, seal(new TextEncoder().encode(JSON.stringify(content))));
  }

  #touch(networkId: string): void {
    this.#dirty.add(networkId);
    this.#wake?.();
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done);
    });
  }
}
