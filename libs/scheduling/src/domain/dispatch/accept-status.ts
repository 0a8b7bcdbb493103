import { WriteSet } from '@berth/changes';
import type { TaskStatus } from '@berth/contracts/workload';
import type { TxnGroup } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { ownerOf, stackScope, supersedes } from '@berth/workload';
import { families, owner } from '../state/families.ts';
import type { Records } from '../state/records.ts';

export interface AcceptedStatuses {
  readonly groups: readonly TxnGroup[];
  /** Tasks that are not known on this node. */
  readonly unknown: readonly string[];
}

/**
 * What a node's batch of statuses writes: each under the condition that its task still stands and that the status before it
 * is the one it was compared with. Older and equal (run, seq) write nothing. PermissionDenied with reason FOREIGN_TASK for a
 * task of another node, InvalidArgument with reason BAD_STATUS for a state that no agent may set; both refuse the batch.
 */
export function acceptStatuses(records: Records, nodeId: string, statuses: readonly TaskStatus[]): AcceptedStatuses {
  const groups: TxnGroup[] = [];
  const unknown: string[] = [];
  for (const status of statuses) {
    if (ownerOf(status.state) !== 'agent') {
      throw new BerthError('InvalidArgument', `task ${status.taskId}: no state that an agent may set`, {
        reason: 'BAD_STATUS',
      });
    }
    const task = records.tasks.get(status.taskId)?.value;
    if (!task) {
      unknown.push(status.taskId);
      continue;
    }
    if (task.nodeId !== nodeId) {
      throw new BerthError('PermissionDenied', `task ${task.id} is not on the caller's node`, {
        reason: 'FOREIGN_TASK',
      });
    }
    const held = records.statuses.get(task.id);
    if (!supersedes(status, held?.value)) continue;
    const writes = new WriteSet(owner).compare({ kind: 'present', key: families.task.keyOf(task) });
    if (held) writes.update(families.status, status, held);
    else writes.create(families.status, status);
    groups.push(writes.touch(stackScope(task.stackId)).group());
  }
  return { groups, unknown };
}
