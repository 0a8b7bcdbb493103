import type { ServiceVersion } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { TaskState } from '@berth/contracts/workload';
import { volumeNamesOf } from '../stack/derive.ts';
import type { Records } from '../state/records.ts';
import type { Demand } from './types.ts';

/** What a pending task asks of a node. `pins` knows also the volumes that got their home in this very round. */
export function demandOf(
  records: Records,
  task: Task,
  version: ServiceVersion,
  pins: (volume: string) => string | undefined,
): Demand {
  const volumeNodes = new Map<string, string>();
  // A global service's volume is one per node: it lives where the task is.
  if (task.slot > 0) {
    for (const name of volumeNamesOf(task.stack, version.volumes)) {
      const home = pins(name);
      if (home !== undefined) volumeNodes.set(name, home);
    }
  }
  return {
    serviceId: task.serviceId,
    resources: task.reservations ?? { cpuMillis: 0, memoryBytes: 0 },
    hostPorts: task.hostPorts,
    constraints: version.spec?.constraints ?? [],
    volumeNodes,
    failuresOn: failuresOf(records, task),
    ...(task.nodeId === '' ? {} : { onlyNode: task.nodeId }),
  };
}

function failuresOf(records: Records, task: Task): ReadonlyMap<string, number> {
  const failures = new Map<string, number>();
  for (const { value } of records.tasksOf(task.serviceId)) {
    if (value.slot !== task.slot || value.specVersion !== task.specVersion || value.id === task.id) continue;
    const state = records.stateOf(value);
    const failed = (records.status(value.id)?.failedRuns ?? 0) > 0 || state === TaskState.TASK_STATE_REJECTED;
    // One that its node never took counts too: the node may not listen.
    if (failed || state === TaskState.TASK_STATE_ASSIGNED) {
      failures.set(value.nodeId, (failures.get(value.nodeId) ?? 0) + 1);
    }
  }
  return failures;
}
