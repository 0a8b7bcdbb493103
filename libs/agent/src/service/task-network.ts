import type {
  AdoptedTask,
  EngineNetwork,
  EngineNetworkSpec,
  PreparedNetworks,
  TaskNetworkRequest,
} from '../domain/task-network.ts';

/**
 * Connects tasks to application networks. Later issues replace the implementation, not this interface. The agent's task
 * loop calls `adopt` once before anything else, then `prepare` before each run and `release` after the task's containers
 * are gone. Everything is idempotent.
 */
export interface TaskNetwork {
  /** Takes over what containers hold already: their addresses stay theirs, bridges and rules are brought back, and what
   *  no task uses (bridges, rules) is removed. Works with no control plane. */
  adopt(tasks: readonly AdoptedTask[]): Promise<void>;
  /** Leases, makes bridges and rules, picks addresses: the same task gets the same ones again. Throws Unavailable, or
   *  FailedPrecondition with reason NETWORK_NOT_READY, when it is to be tried again; the message says what is awaited. */
  prepare(request: TaskNetworkRequest, signal: AbortSignal): Promise<PreparedNetworks>;
  /** The task's containers are gone: its addresses are free; a block without tasks loses bridge and rules and goes back.
   *  Handing a block back may be tried again later, in the background: this resolves when nothing is left on the host. */
  release(taskId: string): Promise<void>;
}

/** The engine's networks of this cluster (implemented in `docker/`). Errors as in ContainerRuntime. */
export interface EngineNetworks {
  list(): Promise<readonly EngineNetwork[]>;
  /** A network of that name that exists already is no error. */
  create(spec: EngineNetworkSpec): Promise<void>;
  /** An absent one is no error; Conflict with reason NETWORK_IN_USE while containers are connected. */
  remove(name: string): Promise<void>;
}
