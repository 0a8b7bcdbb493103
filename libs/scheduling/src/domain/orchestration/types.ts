import type { Node } from '@berth/contracts/registry';
import type { NodeAvailability, ServiceRecord, ServiceVersion, UpdateState } from '@berth/contracts/scheduler';
import type { DesiredState, Task, TaskState, TaskStatus } from '@berth/contracts/workload';
import type { Held } from '../state/table.ts';

/** A task with what this leader has seen of it. Times are the leader's own monotonic milliseconds: no clock of another
 *  machine takes part in a decision. */
export interface SeenTask {
  readonly task: Task;
  readonly status: TaskStatus | undefined;
  /** By record and status. */
  readonly state: TaskState;
  /** Order in which tasks were made. */
  readonly createRevision: number;
  /** When this leader first saw it in its state. */
  readonly sinceMs: number;
  /** When this leader saw its failed runs grow; the newest last. */
  readonly failuresMs: readonly number[];
  /** It runs, is healthy, and callers are told of it on every network it has. */
  readonly ready: boolean;
}

/** What is known of the nodes; complete, for nothing is decided on an unsynced mirror. */
export interface NodesView {
  get(nodeId: string): Node | undefined;
  all(): Iterable<Node>;
  availability(nodeId: string): NodeAvailability['availability'];
}

/** What holds back a service's first tasks at a spec version. */
export type Gate =
  | { readonly kind: 'open' }
  | { readonly kind: 'held'; readonly reason: string; readonly detail: string };

/** All that is decided about one service, in one picture. */
export interface ServiceScene {
  readonly record: Held<ServiceRecord>['value'];
  /** It, or its whole stack, is on its way out. */
  readonly removing: boolean;
  /** What its tasks should run. */
  readonly version: ServiceVersion;
  /** Versions that stand in the store. */
  readonly versions: readonly ServiceVersion[];
  readonly tasks: readonly SeenTask[];
  readonly nodes: NodesView;
  readonly gate: Gate;
  /** Nodes where a stack on its way out has left volumes that go with it. */
  readonly volumeNodes: readonly string[];
}

/** Limits of the reconcilers; `defaultLimits` says which are usual. */
export interface Limits {
  /** Ended tasks kept for each slot. */
  readonly taskHistoryPerSlotMax: number;
  /** Milliseconds in which an agent must accept what it was given. */
  readonly acceptWithinMs: number;
  /** So many failed runs of a task … */
  readonly failedRunsMax: number;
  /** … within so many milliseconds move its slot on to a new task. */
  readonly failedRunsWindowMs: number;
  /** Milliseconds before a refused task is tried again; doubled for each refusal in a row. */
  readonly rejectedDelayMs: number;
  /** Longest such wait. */
  readonly rejectedDelayMaxMs: number;
  /** Tasks that get a node in one round of the leader. */
  readonly placedPerRoundMax: number;
}

export const defaultLimits: Limits = {
  taskHistoryPerSlotMax: 5,
  acceptWithinMs: 10_000,
  failedRunsMax: 5,
  failedRunsWindowMs: 5 * 60_000,
  rejectedDelayMs: 5_000,
  rejectedDelayMaxMs: 60_000,
  placedPerRoundMax: 500,
};

/** What is to be done; carried out by a shell that gives ids and times. */
export type Action =
  | {
      readonly kind: 'create-task';
      readonly serviceId: string;
      readonly specVersion: number;
      /** From 1; 0 for a global service. */
      readonly slot: number;
      /** Node of a global service's task; empty otherwise. */
      readonly nodeId: string;
      readonly earlierFailedRuns: number;
      /** Task of the slot that stops once this one is ready; absent for any other. */
      readonly replaces?: string;
    }
  /** A task that never runs: where no other of a removed stack is left, it has its node delete the stack's volumes. */
  | {
      readonly kind: 'create-cleanup';
      readonly serviceId: string;
      readonly specVersion: number;
      readonly nodeId: string;
    }
  /** It runs what another spec version says too: it counts as of that one. */
  | { readonly kind: 'adopt-version'; readonly taskId: string; readonly specVersion: number }
  | { readonly kind: 'set-desired'; readonly taskId: string; readonly desired: DesiredState }
  /** Its node is lost. `desired` is what becomes of it when the node is back: it stays visible, or leaves no trace. */
  | {
      readonly kind: 'orphan-task';
      readonly taskId: string;
      readonly desired: Exclude<DesiredState, typeof DesiredState.DESIRED_STATE_RUNNING>;
    }
  | { readonly kind: 'delete-task'; readonly taskId: string }
  | {
      readonly kind: 'show-service';
      readonly serviceId: string;
      readonly update: UpdateState;
      readonly message: string;
      readonly wanted: number;
    }
  | { readonly kind: 'delete-version'; readonly serviceId: string; readonly version: number }
  | { readonly kind: 'delete-service'; readonly serviceId: string }
  /** The node has left: what an operator said of it counts no more. */
  | { readonly kind: 'forget-node'; readonly nodeId: string };

/** A decision: what to do now, and when to look again if nothing else happens before. */
export interface Decision {
  readonly actions: readonly Action[];
  /** Monotonic milliseconds. */
  readonly wakeAtMs?: number;
}
