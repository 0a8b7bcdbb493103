import type { NetworkSpec } from '@berth/contracts/workload';

/** What a task needs of its networks, as its assignment says. */
export interface TaskNetworkRequest {
  readonly taskId: string;
  readonly stackId: string;
  /** Networks to be on, in the order of the service; each once. */
  readonly attachments: readonly { readonly network: string; readonly spec: NetworkSpec }[];
}

/** A task's place on one network. Written to the container's label, from which a restarted agent reads it back. */
export interface NetworkJoin {
  readonly networkId: string;
  /** Name in the stack. */
  readonly network: string;
  /** Engine's network of the block: the container is connected to it before it starts. */
  readonly dockerNetwork: string;
  /** Fixed address, chosen out of the block; the same for all runs of the task. */
  readonly ip: string;
}

/** What the container is created with. */
export interface PreparedNetworks {
  readonly joins: readonly NetworkJoin[];
  /** DNS servers: the gateway of the block the container's queries reach. */
  readonly dnsServers: readonly string[];
  /** `timeout:1 attempts:5`. */
  readonly dnsOptions: readonly string[];
}

/** A task whose addresses are in use by a container, found at a start of the agent. */
export interface AdoptedTask {
  readonly taskId: string;
  readonly stackId: string;
  readonly joins: readonly NetworkJoin[];
}

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

/** A bridge network of the engine that carries this cluster's label. */
export interface EngineNetwork {
  readonly id: string;
  readonly name: string;
  /** Name of the bridge device. */
  readonly bridge: string;
  /** Block in CIDR form. */
  readonly subnet: string;
  readonly gateway: string;
  readonly internal: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** Ids of containers connected now. */
  readonly containers: readonly string[];
}

export interface EngineNetworkSpec {
  readonly name: string;
  readonly bridge: string;
  readonly subnet: string;
  readonly gateway: string;
  readonly internal: boolean;
  /** Besides `berth.cluster`, which the adapter adds. */
  readonly labels: Readonly<Record<string, string>>;
  /** Options for the engine's driver besides the bridge's name. */
  readonly options: Readonly<Record<string, string>>;
}

/** The engine's networks of this cluster (implemented in `docker/`). Errors as in ContainerRuntime. */
export interface EngineNetworks {
  list(): Promise<readonly EngineNetwork[]>;
  /** A network of that name that exists already is no error. */
  create(spec: EngineNetworkSpec): Promise<void>;
  /** An absent one is no error; Conflict with reason NETWORK_IN_USE while containers are connected. */
  remove(name: string): Promise<void>;
}
