import type { ServiceVersion } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import { volumeNamesOf } from '../stack/derive.ts';
import type { Records } from '../state/records.ts';
import type { Demand } from './types.ts';

/** What a pending task asks of a node. `homeOf` knows also the volumes that got their home in this very round. */
export function demandOf(
  task: Task,
  version: ServiceVersion,
  failures: SlotFailures,
  homeOf: (volume: string) => string | undefined,
  departing: ReadonlyMap<string, ReadonlySet<string>>,
): Demand {
  const names = volumeNamesOf(task, version.volumes);
  const volumeNodes = new Map<string, string>();
  // A global service's volume is one per node: it lives where the task is.
  if (task.slot > 0) {
    for (const name of names) {
      const home = homeOf(name);
      if (home !== undefined) volumeNodes.set(name, home);
    }
  }
  return {
    serviceId: task.serviceId,
    resources: task.reservations ?? { cpuMillis: 0, memoryBytes: 0 },
    hostPorts: task.hostPorts,
    constraints: version.spec?.constraints ?? [],
    volumeNodes,
    volumesDeparting: nodesWith(departing, task.namespace, names),
    failuresOn: failures.get(task.slot) ?? new Map(),
    ...(version.bindNodeId === '' ? {} : { bindNode: version.bindNodeId }),
    ...(task.nodeId === '' ? {} : { onlyNode: task.nodeId }),
  };
}

/** Nodes that have yet to delete a volume of one of these names. */
function nodesWith(
  departing: ReadonlyMap<string, ReadonlySet<string>>,
  namespace: string,
  names: readonly string[],
): ReadonlySet<string> {
  if (names.length === 0) return none;
  return new Set(
    [...departing].filter(([, volumes]) => names.some((name) => volumes.has(`${namespace}/${name}`))).map(([id]) => id),
  );
}

const none: ReadonlySet<string> = new Set();

/** Failed or refused tasks of a service's slots at a spec version, by slot and node. */
export type SlotFailures = ReadonlyMap<number, ReadonlyMap<string, number>>;

export function slotFailures(records: Records, serviceId: string, specVersion: number): SlotFailures {
  const slots = new Map<number, Map<string, number>>();
  for (const { value } of records.tasksOf(serviceId)) {
    if (value.specVersion !== specVersion || value.desired === DesiredState.DESIRED_STATE_RUNNING) continue;
    const state = records.stateOf(value);
    const failed = (records.status(value.id)?.failedRuns ?? 0) > 0 || state === TaskState.TASK_STATE_REJECTED;
    // One that its node never took counts too: the node may not listen.
    if (!failed && state !== TaskState.TASK_STATE_ASSIGNED) continue;
    const nodes = slots.get(value.slot) ?? new Map<string, number>();
    slots.set(value.slot, nodes.set(value.nodeId, (nodes.get(value.nodeId) ?? 0) + 1));
  }
  return slots;
}
