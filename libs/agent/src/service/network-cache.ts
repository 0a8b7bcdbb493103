import type { Clock, Disk, Logger, Revision } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { seal, unseal } from '../domain/sealed.ts';

/** A burst of changes is written to disk once. */
const writeDelayMs = 500;
/** A disk that refuses is tried again after this time. */
const writeRetryMs = 5_000;

export interface NetworkCacheOptions<R> {
  /** On the disk; one file a network. */
  readonly folder: string;
  /** What is kept, for logs. */
  readonly what: string;
  readonly toJson: (resource: R) => unknown;
  readonly fromJson: (json: unknown) => R;
  /** A resource's key in its network. */
  readonly keyOf: (resource: R) => string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface NetworkStep<R> {
  readonly reset: boolean;
  readonly revision: Revision;
  /** In order; undefined: gone. */
  readonly changes: readonly (readonly [key: string, resource: R | undefined])[];
}

interface HeldNetwork<R> {
  revision: Revision;
  readonly resources: Map<string, R>;
}

interface CacheFile {
  readonly version: 1;
  readonly networkId: string;
  readonly revision: Revision;
  readonly resources: readonly unknown[];
}

/** Resources of the networks that this host carries, in memory and on disk: an agent that restarts knows them at once, with
 *  or without a control plane. */
export class NetworkCache<R> {
  readonly #options: NetworkCacheOptions<R>;
  readonly #networks = new Map<string, HeldNetwork<R>>();
  readonly #dirty = new Set<string>();
  #wake: (() => void) | undefined;

  constructor(options: NetworkCacheOptions<R>) {
    this.#options = options;
  }

  /** Reads the copies on disk. A damaged one is as good as none. */
  async load(): Promise<void> {
    const { disk, folder, fromJson, keyOf, log, what } = this.#options;
    for (const name of await disk.list(folder)) {
      const file = await disk.read(`${folder}/${name}`);
      const payload = file && unseal(file);
      if (payload === undefined) {
        log.warn({ file: name }, `a cache of ${what} is damaged; its owner will tell again`);
        continue;
      }
      const content = JSON.parse(new TextDecoder().decode(payload)) as CacheFile;
      if (content.version !== 1) continue;
      const resources = content.resources.map((resource) => fromJson(resource));
      const held = { revision: content.revision, resources: new Map(resources.map((r) => [keyOf(r), r])) };
      this.#networks.set(content.networkId, held);
    }
  }

  get networkIds(): readonly string[] {
    return [...this.#networks.keys()];
  }

  /** Revision up to which a network is held; undefined if it is not. */
  revisionOf(networkId: string): Revision | undefined {
    return this.#networks.get(networkId)?.revision;
  }

  /** A network's resources by key; undefined while nothing is known of it. */
  of(networkId: string): ReadonlyMap<string, R> | undefined {
    return this.#networks.get(networkId)?.resources;
  }

  /** Takes one step of a network: after a `reset` only what it brings is held. */
  apply(networkId: string, step: NetworkStep<R>): void {
    let held = this.#networks.get(networkId);
    if (step.reset || !held) {
      held = { revision: step.revision, resources: new Map() };
      this.#networks.set(networkId, held);
    }
    for (const [key, resource] of step.changes) {
      if (resource === undefined) held.resources.delete(key);
      else held.resources.set(key, resource);
    }
    held.revision = step.revision;
    this.#touch(networkId);
  }

  /** Only the named networks stay; returns those that went. */
  keep(networkIds: ReadonlySet<string>): string[] {
    const gone = this.networkIds.filter((networkId) => !networkIds.has(networkId));
    for (const networkId of gone) {
      this.#networks.delete(networkId);
      this.#touch(networkId);
    }
    return gone;
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
    const { log, what } = this.#options;
    for (const networkId of [...this.#dirty]) {
      this.#dirty.delete(networkId);
      try {
        await this.#writeNetwork(networkId);
      } catch (error) {
        if (!isBerthError(error)) throw error;
        this.#dirty.add(networkId);
        log.error({ error: error.message }, `${what} could not be kept; trying again`);
        return false;
      }
    }
    return true;
  }

  async #writeNetwork(networkId: string): Promise<void> {
    const { disk, folder, toJson } = this.#options;
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
      resources: [...held.resources.values()].map(toJson),
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
