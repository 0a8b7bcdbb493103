import { NodeStatus } from '@berth/contracts/registry';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import { isEnded } from '@berth/workload';
import type { Action, Limits, NodesView, SeenTask } from './types.ts';

/** Takes a slot out of service: nothing of it stays. */
export function removeSlot(tasks: readonly SeenTask[], nodes: NodesView): Action[] {
  const desired = DesiredState.DESIRED_STATE_REMOVE;
  return tasks.flatMap((seen): Action[] => {
    const taskId = seen.task.id;
    if (deletable(seen, nodes)) return [{ kind: 'delete-task', taskId }];
    if (isStranded(seen, nodes)) return [{ kind: 'orphan-task', taskId, desired }];
    return seen.task.desired === desired ? [] : [{ kind: 'set-desired', taskId, desired }];
  });
}

/** Tasks whose node is lost, and whose records do not say so yet. */
export function orphan(tasks: readonly SeenTask[]): Action[] {
  return tasks.map(({ task }) => ({
    kind: 'orphan-task',
    taskId: task.id,
    desired:
      task.desired === DesiredState.DESIRED_STATE_REMOVE
        ? DesiredState.DESIRED_STATE_REMOVE
        : DesiredState.DESIRED_STATE_SHUTDOWN,
  }));
}

/** Stops a task; one that no node was ever given simply goes. */
export function retire({ task }: SeenTask): Action {
  if (task.state === TaskState.TASK_STATE_PENDING) return { kind: 'delete-task', taskId: task.id };
  return { kind: 'set-desired', taskId: task.id, desired: DesiredState.DESIRED_STATE_SHUTDOWN };
}

/** It may still run on a node that is lost, and its record does not say so yet. */
export function isStranded(seen: SeenTask, nodes: NodesView): boolean {
  return (
    seen.task.state !== TaskState.TASK_STATE_PENDING &&
    !isEnded(seen.state) &&
    isLost(seen.task.nodeId, nodes) &&
    !deletable(seen, nodes)
  );
}

/** Nothing is known of what runs there. A node that is not known is not lost: removed ones stay on record (ADR 0130), so it
 *  is one that has joined, and that a mirror which lags has yet to hear of. */
export function isLost(nodeId: string, nodes: NodesView): boolean {
  return isGone(nodeId, nodes) || nodes.get(nodeId)?.status === NodeStatus.NODE_STATUS_LOST;
}

/** Nobody will ever say that its containers are gone: the node has left. */
export function isGone(nodeId: string, nodes: NodesView): boolean {
  return nodes.get(nodeId)?.status === NodeStatus.NODE_STATUS_LEFT;
}

/** Nothing of it is left on any node, so its record may go. */
export function deletable({ task, status }: SeenTask, nodes: NodesView): boolean {
  if (task.state === TaskState.TASK_STATE_PENDING) return true;
  if (task.desired !== DesiredState.DESIRED_STATE_REMOVE) return false;
  return status?.removed === true || isGone(task.nodeId, nodes);
}

/** Bounds the history: the oldest ended tasks are removed from their nodes, then from the store. */
export function tidy(
  tasks: readonly SeenTask[],
  { limits, nodes }: { readonly limits: Limits; readonly nodes: NodesView },
): Action[] {
  const past = tasks.filter(({ task }) => task.desired !== DesiredState.DESIRED_STATE_RUNNING);
  const kept = past
    .filter(({ task, state }) => task.desired === DesiredState.DESIRED_STATE_SHUTDOWN && isEnded(state))
    .sort((a, b) => b.createRevision - a.createRevision || (a.task.id < b.task.id ? -1 : 1));
  const surplus = new Set(kept.slice(limits.taskHistoryPerSlotMax));
  return past.flatMap((seen): Action[] => {
    if (deletable(seen, nodes)) return [{ kind: 'delete-task', taskId: seen.task.id }];
    if (!surplus.has(seen)) return [];
    return [{ kind: 'set-desired', taskId: seen.task.id, desired: DesiredState.DESIRED_STATE_REMOVE }];
  });
}

/** When a withdrawn task no longer holds up its slot: now, never (its end is awaited), or at a time. */
export function freesSlotAtMs(
  seen: SeenTask,
  { limits, nodes }: { readonly limits: Limits; readonly nodes: NodesView },
): number {
  const { task, state, status, sinceMs } = seen;
  if (task.state === TaskState.TASK_STATE_PENDING || isLost(task.nodeId, nodes)) return Number.NEGATIVE_INFINITY;
  // An orphan whose node is back may still run there, until its agent says otherwise.
  const ended = state === TaskState.TASK_STATE_ORPHANED ? isEnded(status?.state ?? state) : isEnded(state);
  if (ended) return Number.NEGATIVE_INFINITY;
  // One whose agent never took it holds up its slot no longer than an agent may take.
  if (state === TaskState.TASK_STATE_ASSIGNED) return sinceMs + limits.acceptWithinMs;
  return Number.POSITIVE_INFINITY;
}
