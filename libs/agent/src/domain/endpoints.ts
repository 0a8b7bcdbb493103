import type { Endpoint } from '@berth/contracts/registry';
import type { Assignment } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import type { ContainerState } from '@berth/kernel';
import { taskName } from '@berth/workload';
import { joinsOf } from './labels.ts';
import type { NodeIdentity } from './run-plan.ts';
import { hasNetworks, taskOfAssignment } from './run-plan.ts';
import type { TaskRecord } from './task-record.ts';
import { byRun } from './task-record.ts';

/** Endpoints of a task: one for each network, as long as its current container runs and is wanted. A task that is to stop
 *  has none at once, before it is stopped. */
export function endpointsOf(
  assignment: Assignment,
  record: TaskRecord,
  containers: readonly ContainerState[],
  node: NodeIdentity,
): Endpoint[] {
  const task = taskOfAssignment(assignment);
  if (task.desired !== DesiredState.DESIRED_STATE_RUNNING || !hasNetworks(assignment)) return [];
  const current = byRun(containers).find((c) => c.run === record.run)?.state;
  if (current?.phase.kind !== 'running' || record.condemnedRun === record.run) return [];
  const aliases = new Map((assignment.spec?.networks ?? []).map((a) => [a.network, a.aliases]));
  const healthy = current.health === 'none' || current.health === 'healthy';
  return joinsOf(current).map((join) => ({
    taskId: task.id,
    networkId: join.networkId,
    nodeId: node.nodeId,
    stackId: task.stackId,
    service: task.service,
    names: [...new Set([task.service, ...(aliases.get(join.network) ?? [])].map((name) => name.toLowerCase()))],
    taskName: taskName(task, node.hostname).toLowerCase(),
    ip: join.ip,
    ports: assignment.spec?.expose ?? [],
    healthy,
    run: record.run,
  }));
}
