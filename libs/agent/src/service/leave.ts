import type { Clock, ContainerRuntime, Logger } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { TaskEngine } from './task-engine.ts';
import type { EngineNetworks } from './task-network.ts';

const lookIntervalMs = 500;
/** A network that containers of others hold is left to them after this time. */
const networksLimitMs = 60_000;

export interface LeaveOptions {
  readonly engine: Pick<TaskEngine, 'sync'>;
  readonly runtime: Pick<ContainerRuntime<unknown>, 'list'>;
  readonly networks: Pick<EngineNetworks, 'list'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * This node was removed from the cluster: nothing is its own any more. Stops and removes all tasks the way every task ends,
 * their networks with them; named volumes are the user's and stay. Resolves when no container of the cluster is left. Can
 * be begun again after a crash, and needs no control plane.
 */
export async function leaveCluster(options: LeaveOptions, signal: AbortSignal): Promise<void> {
  const { engine, runtime, networks, clock, log } = options;
  engine.sync({ full: true, assignments: [], removed: [], first: true });
  await none({ what: 'containers', list: () => runtime.list(), untilMs: Number.POSITIVE_INFINITY, options, signal });
  const untilMs = clock.monotonic() + networksLimitMs;
  const left = await none({ what: 'networks', list: () => networks.list(), untilMs, options, signal });
  if (left.length > 0) {
    log.warn({ networks: left.map(({ name }) => name) }, 'networks stay: containers of others are connected to them');
  }
}

/** Waits until nothing is listed; returns what still is when the time is up or the signal aborts. */
async function none<T>(look: {
  readonly what: string;
  readonly list: () => Promise<readonly T[]>;
  readonly untilMs: number;
  readonly options: LeaveOptions;
  readonly signal: AbortSignal;
}): Promise<readonly T[]> {
  const { what, list, untilMs, signal } = look;
  const { clock, log } = look.options;
  for (let left: readonly T[] = []; ; await clock.sleep(lookIntervalMs, signal)) {
    if (signal.aborted) return left;
    try {
      left = await list();
      if (left.length === 0 || clock.monotonic() >= untilMs) return left;
    } catch (error) {
      if (!isBerthError(error)) throw error;
      log.warn({ error: error.message }, `the engine does not list its ${what}; trying again`);
    }
  }
}
