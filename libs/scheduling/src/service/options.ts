import type { RuntimeServiceClient } from '@berth/contracts/agent';
import type { NetworkServiceClient } from '@berth/contracts/network';
import type { CatalogServiceClient, Node } from '@berth/contracts/registry';
import type { CallExtra, Clock, Logger, Rng, Store } from '@berth/kernel';
import type { Limits } from '../domain/orchestration/types.ts';
import { defaultLimits } from '../domain/orchestration/types.ts';

/** Numbers of the scheduler's service; `defaultSettings` says which are usual. */
export interface SchedulerSettings {
  readonly limits: Limits;
  /** Time to live of the leader's key: so long after its death nobody decides. */
  readonly leaderTtlMs: number;
  /** The leader waits so long after a change for others that belong to it. */
  readonly batchMs: number;
  /** Between the withdrawal of an endpoint and the stop signal; 0 for a task without one. */
  readonly drainDelayMs: number;
}

export const defaultSettings: SchedulerSettings = {
  limits: defaultLimits,
  leaderTtlMs: 3_000,
  batchMs: 5,
  drainDelayMs: 2_000,
};

/** What happens inside, for metrics. */
export interface SchedulerObserver {
  /** This replica starts or stops leading. */
  leading(leads: boolean): void;
  /** The leader decided: how long it took, and how many groups of writes it made. */
  decided(round: { readonly ms: number; readonly groups: number }): void;
  /** Writes that met another state than they were decided on. */
  conflict(): void;
  /** A node's dispatch session begins or ends. */
  session(change: 1 | -1): void;
}

/** What the scheduler reaches the world through. */
export interface SchedulerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly clusterId: string;
  /** Unique name of this replica. */
  readonly instance: string;
  /** The registry: nodes are mirrored from it. */
  readonly registry: Pick<CatalogServiceClient<CallExtra>, 'watch'>;
  /** The network-manager: checks a stack's networks, and says which are left. */
  readonly networkManager: Pick<NetworkServiceClient<CallExtra>, 'watch' | 'checkStack'>;
  /** The agent of a node: logs and exec. */
  readonly agentOf: (node: Node) => RuntimeServiceClient<CallExtra>;
  readonly settings?: Partial<SchedulerSettings>;
  readonly observer?: SchedulerObserver;
}
