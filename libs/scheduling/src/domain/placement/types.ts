import type { Node } from '@berth/contracts/registry';
import type { Availability } from '@berth/contracts/scheduler';
import type { PortSpec, Resources } from '@berth/contracts/workload';
import type { NodeUsage } from '../state/usage.ts';

/** A node as the registry describes it. */
export type NodeFacts = Node;

/** A node with what the scheduler knows of it. */
export interface Candidate {
  readonly node: NodeFacts;
  readonly availability: Availability;
  readonly usage: NodeUsage;
}

/** What one task asks of a node. */
export interface Demand {
  readonly serviceId: string;
  readonly resources: Resources;
  readonly hostPorts: readonly PortSpec[];
  readonly constraints: readonly string[];
  /** Where its named volumes live, by Docker's name; a volume that lives nowhere yet is absent. */
  readonly volumeNodes: ReadonlyMap<string, string>;
  /** Nodes that have yet to delete volumes of these names, of a stack that is gone. */
  readonly volumesDeparting?: ReadonlySet<string>;
  /** Only this node has the relative paths that it mounts. */
  readonly bindNode?: string;
  /** Only this node will do: a global service's task. */
  readonly onlyNode?: string;
  /** Failed or refused tasks of its slot at this spec version, by node: others are tried first. */
  readonly failuresOn?: ReadonlyMap<string, number>;
}

/** A reason to leave out a node. */
export interface Filter {
  /** Name shown by `why`. */
  readonly name: string;
  /** May the task go there? */
  admits(demand: Demand, candidate: Candidate): boolean;
  /** What the filter found over all nodes that it left out, with numbers. */
  detail(demand: Demand, refused: readonly Candidate[], all: readonly Candidate[]): string;
  /** Short form for the summary: "2 nodes lack memory". */
  readonly lack: string;
}
