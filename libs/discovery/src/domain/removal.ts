import type { Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { TaskView } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import { effectiveState, isEnded } from '@berth/workload';

/**
 * May a node be taken out of the cluster? Not a manager, for the control plane runs there; not while tasks are to run on
 * it, unless it is lost or the operator insists. Throws FailedPrecondition, or Unavailable while the tasks are not known.
 */
export function checkRemovable(
  node: Node,
  { force, tasksSynced, tasks }: { force: boolean; tasksSynced: boolean; tasks: Iterable<TaskView> },
): void {
  if (node.manager) {
    throw new BerthError('FailedPrecondition', `node ${node.hostname} is a manager: the control plane runs on it`, {
      reason: 'NODE_IS_MANAGER',
    });
  }
  if (force || node.status === NodeStatus.NODE_STATUS_LOST) return;
  if (!tasksSynced) {
    throw new BerthError('Unavailable', 'the tasks of the node are not known yet: try again', {
      reason: 'NOT_SYNCED',
    });
  }
  let count = 0;
  for (const { task, status } of tasks) {
    if (task?.nodeId !== node.id || task.desired !== DesiredState.DESIRED_STATE_RUNNING) continue;
    // What has done its work, or failed for good, stays as it is wherever it was: a drain does not move it either.
    if (!isEnded(effectiveState(task, status))) count += 1;
  }
  if (count === 0) return;
  const what = count === 1 ? '1 task is' : `${count} tasks are`;
  throw new BerthError(
    'FailedPrecondition',
    `${what} to run on node ${node.hostname}: \`berth node drain ${node.hostname}\` first, or remove it with force`,
    { reason: 'NODE_HAS_TASKS' },
  );
}
