import { ChangeFeed, onlyKinds, RemoteMirror } from '@berth/changes';
import { helloOf } from '@berth/contracts';
import type { Change as NetworkChange } from '@berth/contracts/network';
import type { Change as RegistryChange } from '@berth/contracts/registry';
import type { Change } from '@berth/contracts/scheduler';
import type { Revision } from '@berth/kernel';
import { owner } from '../domain/state/families.ts';
import type { RegistryTouched } from '../domain/state/nodes.ts';
import { Nodes, StackNetworks } from '../domain/state/nodes.ts';
import type { Records } from '../domain/state/records.ts';
import { SchedulerView } from '../domain/view/scheduler-view.ts';
import type { SchedulerOptions } from './options.ts';

const nothing: RegistryTouched = { nodes: new Set(), announced: new Set() };

/** All that a replica observes: its own records, the registry's nodes and endpoints, the network-manager's networks. */
export class Mirrors {
  readonly view = new SchedulerView();
  readonly feed: ChangeFeed<Change>;
  readonly nodes = new Nodes();
  readonly networks = new StackNetworks();
  readonly #options: SchedulerOptions;
  /** Nodes, endpoints, and who was revoked. */
  readonly registry = new RemoteMirror<RegistryChange>();
  readonly #networkManager = new RemoteMirror<NetworkChange>();
  readonly #registryListeners = new Set<(touched: RegistryTouched) => void>();
  readonly #networkListeners = new Set<(stacks: ReadonlySet<string>) => void>();

  constructor(options: SchedulerOptions) {
    this.#options = options;
    const { clock, log, store } = options;
    this.feed = new ChangeFeed({ owner, store, view: this.view, clock, log });
    this.registry.onStep((step) => {
      const touched = step.kind === 'disconnected' ? nothing : this.nodes.apply(step);
      for (const listener of this.#registryListeners) listener(touched);
    });
    this.#networkManager.onStep((step) => {
      const touched = step.kind === 'disconnected' ? new Set<string>() : this.networks.apply(step);
      for (const listener of this.#networkListeners) listener(touched);
    });
  }

  get records(): Records {
    return this.view.records;
  }

  /** Absence counts only here: own records and nodes are complete. */
  get synced(): boolean {
    return this.feed.synced && this.registry.synced;
  }

  get nodesSynced(): boolean {
    return this.registry.synced;
  }

  get networksSynced(): boolean {
    return this.#networkManager.synced;
  }

  /** Nodes or endpoints changed, or the registry came or went. Returns what ends it. */
  onRegistry(listener: (touched: RegistryTouched) => void): () => void {
    this.#registryListeners.add(listener);
    return () => this.#registryListeners.delete(listener);
  }

  /** Networks of stacks changed, or the network-manager came or went. Returns what ends it. */
  onNetworks(listener: (stacks: ReadonlySet<string>) => void): () => void {
    this.#networkListeners.add(listener);
    return () => this.#networkListeners.delete(listener);
  }

  /** A revision of the store in this mirror's epoch, e.g. of a txn. */
  at(revision: number): Revision | undefined {
    return this.feed.revision && { epoch: this.feed.revision.epoch, revision };
  }

  /** Follows all three until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, clusterId, log, networkManager, registry, rng } = this.#options;
    const hello = helloOf(clusterId, '');
    await Promise.all([
      this.feed.run(signal),
      this.registry.run({
        call: (since, attempt) =>
          onlyKinds(registry.watch({ hello, since, scopes: [] }, { signal: attempt }), [
            'node',
            'endpoint',
            'revocation',
          ]),
        clock,
        rng,
        log: log.child({ mirror: 'registry' }),
        signal,
      }),
      this.#networkManager.run({
        call: (since, attempt) =>
          onlyKinds(networkManager.watch({ hello, since, scopes: [] }, { signal: attempt }), ['network']),
        clock,
        rng,
        log: log.child({ mirror: 'network-manager' }),
        signal,
      }),
    ]);
  }
}
