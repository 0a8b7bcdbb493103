// What the ports in service/task-network.ts speak of.
import type { NetworkSpec } from '@berth/contracts/workload';

/** A network to be on. */
export interface WantedNetwork {
  /** Name in the stack. */
  readonly network: string;
  /** As the task's version of the stack declares it. */
  readonly spec: NetworkSpec;
}

/** What a task needs of its networks, as its assignment says. */
export interface TaskNetworkRequest {
  readonly taskId: string;
  readonly stackId: string;
  /** Networks to be on, in the order of the service; each once. */
  readonly attachments: readonly WantedNetwork[];
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

/** A bridge network of the engine that carries this cluster's label. */
export interface EngineNetwork {
  readonly id: string;
  readonly name: string;
  /** Name of the bridge device. */
  readonly bridge: string;
  /** Block in CIDR form. */
  readonly subnet: string;
  readonly gateway: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Ids of containers connected now. */
  readonly containers: readonly string[];
}

export interface EngineNetworkSpec {
  readonly name: string;
  readonly bridge: string;
  readonly subnet: string;
  readonly gateway: string;
  /** Besides `berth.cluster`, which the adapter adds. */
  readonly labels: Readonly<Record<string, string>>;
  /** Options for the engine's driver besides the bridge's name. */
  readonly options: Readonly<Record<string, string>>;
}
