import type { Task, TaskStatus } from '@berth/contracts/workload';
import { DesiredState, Health, TaskState } from '@berth/contracts/workload';

/** Who moves a task into a state: no state has two writers. */
export type StateOwner = 'scheduler' | 'agent';

const owners: Readonly<Record<number, StateOwner>> = {
  [TaskState.TASK_STATE_PENDING]: 'scheduler',
  [TaskState.TASK_STATE_ASSIGNED]: 'scheduler',
  [TaskState.TASK_STATE_ACCEPTED]: 'agent',
  [TaskState.TASK_STATE_PREPARING]: 'agent',
  [TaskState.TASK_STATE_STARTING]: 'agent',
  [TaskState.TASK_STATE_RUNNING]: 'agent',
  [TaskState.TASK_STATE_RESTARTING]: 'agent',
  [TaskState.TASK_STATE_COMPLETE]: 'agent',
  [TaskState.TASK_STATE_FAILED]: 'agent',
  [TaskState.TASK_STATE_REJECTED]: 'agent',
  [TaskState.TASK_STATE_SHUTDOWN]: 'agent',
  [TaskState.TASK_STATE_ORPHANED]: 'scheduler',
};

/** Who may write a state; undefined for a number that is none. */
export function ownerOf(state: TaskState): StateOwner | undefined {
  return owners[state];
}

const ended: ReadonlySet<TaskState> = new Set([
  TaskState.TASK_STATE_COMPLETE,
  TaskState.TASK_STATE_FAILED,
  TaskState.TASK_STATE_REJECTED,
  TaskState.TASK_STATE_SHUTDOWN,
  TaskState.TASK_STATE_ORPHANED,
]);

/** No further run follows: the task holds no cpu, memory or ports any more. */
export function isEnded(state: TaskState): boolean {
  return ended.has(state);
}

/**
 * May a task go from one state to the other? States grow within a run; `restarting` and `running` alternate; a new run goes
 * through `preparing` and `starting` again; the ended states are final, but for `shutdown` and `orphaned`, which may follow
 * any other (a task that ended by itself is still told to stop).
 */
export function mayFollow(from: TaskState, to: TaskState): boolean {
  if (from === to) return true;
  if (to === TaskState.TASK_STATE_ORPHANED) return from !== TaskState.TASK_STATE_SHUTDOWN;
  if (to === TaskState.TASK_STATE_SHUTDOWN) return true;
  if (isEnded(from)) return false;
  if (from === TaskState.TASK_STATE_RESTARTING) return to >= TaskState.TASK_STATE_PREPARING;
  return to > from;
}

/** How far a task has come, by both its writers: an orphaned task stays orphaned, whatever its node said last. */
export function effectiveState(task: Pick<Task, 'state'>, status: Pick<TaskStatus, 'state'> | undefined): TaskState {
  if (task.state === TaskState.TASK_STATE_ORPHANED) return task.state;
  if (status === undefined || status.state === TaskState.TASK_STATE_UNSPECIFIED) return task.state;
  return status.state;
}

/** It runs and, where Docker checks its health, is healthy. */
export function isServing(seen: {
  readonly state: TaskState;
  readonly status: Pick<TaskStatus, 'health'> | undefined;
}): boolean {
  const health = seen.status?.health ?? Health.HEALTH_UNSPECIFIED;
  return (
    seen.state === TaskState.TASK_STATE_RUNNING &&
    (health === Health.HEALTH_UNSPECIFIED || health === Health.HEALTH_HEALTHY)
  );
}

const stateNames: Readonly<Record<number, string>> = {
  [TaskState.TASK_STATE_PENDING]: 'pending',
  [TaskState.TASK_STATE_ASSIGNED]: 'assigned',
  [TaskState.TASK_STATE_ACCEPTED]: 'accepted',
  [TaskState.TASK_STATE_PREPARING]: 'preparing',
  [TaskState.TASK_STATE_STARTING]: 'starting',
  [TaskState.TASK_STATE_RUNNING]: 'running',
  [TaskState.TASK_STATE_RESTARTING]: 'restarting',
  [TaskState.TASK_STATE_COMPLETE]: 'complete',
  [TaskState.TASK_STATE_FAILED]: 'failed',
  [TaskState.TASK_STATE_REJECTED]: 'rejected',
  [TaskState.TASK_STATE_SHUTDOWN]: 'shutdown',
  [TaskState.TASK_STATE_ORPHANED]: 'orphaned',
};

/** The word for a state, as the CLI and events show it. */
export function stateName(state: TaskState): string {
  return stateNames[state] ?? 'unknown';
}

const desiredNames: Readonly<Record<number, string>> = {
  [DesiredState.DESIRED_STATE_RUNNING]: 'running',
  [DesiredState.DESIRED_STATE_SHUTDOWN]: 'shutdown',
  [DesiredState.DESIRED_STATE_REMOVE]: 'remove',
};

/** The word for a desired state. */
export function desiredName(desired: DesiredState): string {
  return desiredNames[desired] ?? 'unknown';
}
