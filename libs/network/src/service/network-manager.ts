import type { RemoteMirror, WriteSet } from '@berth/changes';
import { ChangeFeed } from '@berth/changes';
import type { Change } from '@berth/contracts/network';
import type { Change as RegistryChange } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { Change as SchedulerChange, Stack } from '@berth/contracts/scheduler';
import type { Clock, Logger, Rng, Store } from '@berth/kernel';
import { isPassing, newId, unreachable } from '@berth/kernel';
import type { NetworkSettings } from '@berth/workload';
import { pickVni } from '../domain/backend.ts';
import type { DeclaredStacks, NetworkAction } from '../domain/reconcile.ts';
import { reconcileNetworks } from '../domain/reconcile.ts';
import { networkOwner } from '../domain/records.ts';
import { claimId, NetworkTables } from '../domain/tables.ts';
import {
  createNetwork,
  dropRange,
  releaseBlock,
  removeNetwork,
  reviveNetwork,
  startDeleting,
} from '../domain/writes.ts';

/** Pause after a lost race or a silent store before deciding again. */
const retryMs = 200;

export interface NetworkManagerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly settings: NetworkSettings;
  /** The scheduler's resources (stacks are enough). Run by the caller. */
  readonly scheduler: RemoteMirror<SchedulerChange>;
  /** The registry's resources (nodes are enough). Run by the caller. */
  readonly registry: RemoteMirror<RegistryChange>;
}

/**
 * Keeps the networks equal to what stacks declare. None leads: every replica runs this loop, and what can be taken once is
 * created only if absent.
 */
export class NetworkManager {
  readonly tables = new NetworkTables();
  readonly feed: ChangeFeed<Change>;
  readonly #options: NetworkManagerOptions;
  /** Claims that wait for room in the pool; logged once. */
  readonly #blocked = new Set<string>();
  #leftNodes: ReadonlySet<string> = new Set();
  #wake: () => void = () => {};
  #dirty = true;

  constructor(options: NetworkManagerOptions) {
    this.#options = options;
    this.feed = new ChangeFeed({
      owner: networkOwner,
      store: options.store,
      view: this.tables,
      clock: options.clock,
      log: options.log,
    });
  }

  /** Both mirrors have had what they need to decide. */
  get synced(): boolean {
    return this.feed.synced && this.#options.scheduler.synced;
  }

  /** Stacks there are, as far as this replica knows; not a proof of absence. */
  get stacks(): Stack[] {
    return [...this.#options.scheduler.resources.values()].flatMap(({ resource }) =>
      resource?.$case === 'stack' ? [resource.value] : [],
    );
  }

  /** Has the node left the cluster for good, as far as this replica knows? */
  hasLeft(nodeId: string): boolean {
    return this.#leftNodes.has(nodeId);
  }

  /** Runs until the signal aborts; rejects when something failed that can't be tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const ends = [
      this.feed.onStep((step) => {
        if (step.kind === 'reset' || step.changes.length > 0) this.#touch();
      }),
      this.#options.scheduler.onStep((step) => {
        const concerned = step.kind !== 'changes' || step.changes.some(({ key }) => key.startsWith('stack/'));
        if (concerned) this.#touch();
      }),
      this.#options.registry.onStep(() => this.#noteNodes()),
    ];
    const stop = (): void => this.#wake();
    signal.addEventListener('abort', stop);
    try {
      await Promise.all([this.feed.run(signal), this.#loop(signal)]);
    } finally {
      signal.removeEventListener('abort', stop);
      for (const end of ends) end();
    }
  }

  async #loop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (!this.#dirty) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      this.#dirty = false;
      try {
        if (!(await this.#round())) {
          this.#dirty = true;
          await this.#options.clock.sleep(retryMs, signal);
        }
      } catch (error) {
        if (!isPassing(error)) throw error;
        this.#options.log.warn({ error }, 'the store does not answer or is full; trying again');
        this.#dirty = true;
        await this.#options.clock.sleep(retryMs, signal);
      }
    }
  }

  /** One round of observe, decide, act; false if a race was lost. */
  async #round(): Promise<boolean> {
    if (!this.feed.synced) return true;
    const declared = this.#declared();
    const { settings } = this.#options;
    const actions = reconcileNetworks({ state: this.tables, settings, declared, leftNodes: this.#leftNodes });
    let all = true;
    for (const action of actions) {
      const writes = this.#plan(action, declared);
      if (!writes) continue;
      const result = await this.#options.store.txn(writes.group());
      all &&= result.committed;
      if (!result.committed) continue;
      this.#report(action);
      const epoch = this.feed.revision?.epoch ?? '';
      await this.feed.waitFor({ epoch, revision: result.revision });
    }
    return all;
  }

  #declared(): DeclaredStacks | undefined {
    const { scheduler } = this.#options;
    const { revision } = scheduler;
    // Two epochs at once: one of the mirrors has not seen the restore yet.
    if (!scheduler.synced || !revision || revision.epoch !== this.feed.revision?.epoch) return undefined;
    return { revision, stacks: this.stacks };
  }

  #plan(action: NetworkAction, declared: DeclaredStacks | undefined): WriteSet | undefined {
    const { settings, rng } = this.#options;
    if (action.kind === 'create') {
      if (!declared) return undefined;
      const { stack, spec, range } = action;
      const id = newId(rng);
      const vni = pickVni(id, this.tables.takenVnis);
      return createNetwork(settings, { id, stack, spec, range, vni, declaredAt: declared.revision });
    }
    if (action.kind === 'blocked') {
      this.#reportBlocked(action);
      return undefined;
    }
    if (action.kind === 'release') return releaseBlock(action.lease, action.holder);
    const network = this.tables.networks.get(action.network.id);
    if (!network) return undefined;
    switch (action.kind) {
      case 'revive':
        return declared && reviveNetwork(network, { ...action, declaredAt: declared.revision });
      case 'start-deleting':
        return startDeleting(network);
      case 'drop-range':
        return dropRange(settings, network, action.range);
      case 'remove':
        return removeNetwork(settings, network);
      default:
        return unreachable(action);
    }
  }

  #report(action: NetworkAction): void {
    const { log } = this.#options;
    if (action.kind === 'create') {
      this.#blocked.delete(claimId(action.stack.id, action.spec.name));
      log.info({ stack: action.stack.name, network: action.spec.name, range: action.range }, 'network created');
    } else if (action.kind === 'release') {
      const { nodeId, block } = action.lease.value;
      log.info({ nodeId, block }, 'block of a node that has left is free again');
    } else if (action.kind !== 'blocked') {
      const { id, stack, name } = action.network;
      log.info({ networkId: id, stack, network: name }, `network: ${action.kind}`);
    }
  }

  #reportBlocked({ stack, spec }: Extract<NetworkAction, { kind: 'blocked' }>): void {
    const id = claimId(stack.id, spec.name);
    if (this.#blocked.has(id)) return;
    this.#blocked.add(id);
    this.#options.log.error({ stack: stack.name, network: spec.name }, 'no room in the address pool for this network');
  }

  #noteNodes(): void {
    const left = [...this.#options.registry.resources.values()].flatMap(({ resource }) =>
      resource?.$case === 'node' && resource.value.status === NodeStatus.NODE_STATUS_LEFT ? [resource.value.id] : [],
    );
    const news = left.some((id) => !this.#leftNodes.has(id));
    this.#leftNodes = new Set(left);
    if (news) this.#touch();
  }

  #touch(): void {
    this.#dirty = true;
    this.#wake();
  }
}
