import type { ServiceRecord } from '@berth/contracts/scheduler';
import type { PlacementFailure, Task, TaskStatus } from '@berth/contracts/workload';
import { DependencyCondition, DesiredState, TaskState } from '@berth/contracts/workload';
import { isServing, stateName } from '@berth/workload';
import type { Records } from '../state/records.ts';
import type { Gate } from './types.ts';

/** Name under which a held task shows why it waits. */
export const dependsOnFilter = 'depends-on';

/** Nothing holds back. */
export const openGate: Gate = { kind: 'open' };

/**
 * May the first tasks of a service's spec version be assigned? Once one of them was, the gate stays open for that version:
 * what a service awaits may come and go later.
 */
export function gateOf(records: Records, record: ServiceRecord): Gate {
  const { service } = record;
  if (!service || record.dependsOn.length === 0) return openGate;
  const begun = records
    .tasksOf(service.id)
    .some(({ value }) => value.specVersion === service.specVersion && value.state !== TaskState.TASK_STATE_PENDING);
  if (begun) return openGate;
  const unmet = record.dependsOn
    .map((dependency) => unmetReason(records, service.stackId, dependency.service, dependency.condition))
    .filter((reason) => reason !== undefined);
  const [reason] = unmet;
  return reason === undefined ? openGate : { kind: 'held', reason, detail: unmet.join('; ') };
}

/** The failure that a held task shows. */
export function heldFailure(gate: Extract<Gate, { kind: 'held' }>, nodes: number): PlacementFailure {
  return {
    summary: gate.reason,
    filters: [{ filter: dependsOnFilter, nodes, detail: gate.detail }],
    nodes,
    passing: false,
  };
}

function unmetReason(
  records: Records,
  stackId: string,
  name: string,
  condition: DependencyCondition,
): string | undefined {
  const target = records.serviceNamed(stackId, name)?.value;
  if (!target?.service) return `${name} is not there yet`;
  const { id, specVersion, wanted } = target.service;
  const tasks = records
    .tasksOf(id)
    .map(({ value }) => ({ task: value, status: records.status(value.id), state: records.stateOf(value) }))
    .filter(({ task }) => task.desired === DesiredState.DESIRED_STATE_RUNNING && task.specVersion === specVersion);
  const needed = target.service.mode === 'global' ? wanted : target.replicas;
  // A slot that is being moved has two.
  const slots = new Set(
    tasks.filter((seen) => hasReached(condition, seen)).map(({ task }) => (task.slot > 0 ? task.slot : task.nodeId)),
  );
  const reached = slots.size;
  if (reached >= needed) return undefined;
  const failed = tasks.find(
    ({ state }) => state === TaskState.TASK_STATE_FAILED || state === TaskState.TASK_STATE_REJECTED,
  );
  if (failed) return `${name} ${endOf(failed)}`;
  return `${name} ${missing(condition)} (${reached} of ${needed})`;
}

interface Seen {
  readonly task: Task;
  readonly status: TaskStatus | undefined;
  readonly state: TaskState;
}

function hasReached(condition: DependencyCondition, { status, state }: Seen): boolean {
  switch (condition) {
    case DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY:
      return state === TaskState.TASK_STATE_COMPLETE && status?.exitCode === 0;
    case DependencyCondition.DEPENDENCY_CONDITION_HEALTHY:
      return isServing({ state, status });
    default:
      return (status?.startedAtMs ?? 0) > 0 || state === TaskState.TASK_STATE_RUNNING;
  }
}

function missing(condition: DependencyCondition): string {
  switch (condition) {
    case DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY:
      return 'has not completed yet';
    case DependencyCondition.DEPENDENCY_CONDITION_HEALTHY:
      return 'is not healthy yet';
    default:
      return 'is not started yet';
  }
}

/** How a task ended, in words: "failed with exit code 1". */
export function endOf({ state, status }: Pick<Seen, 'state' | 'status'>): string {
  if (state === TaskState.TASK_STATE_REJECTED) return `was rejected${status?.message ? `: ${status.message}` : ''}`;
  const exit = status?.exitCode ?? 0;
  if (exit > 0) return `failed with exit code ${exit}`;
  return `${stateName(state)}${status?.message ? `: ${status.message}` : ''}`;
}
