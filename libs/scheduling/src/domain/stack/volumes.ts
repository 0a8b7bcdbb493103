import type { ServiceVersion, VolumePin } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { TaskState } from '@berth/contracts/workload';
import type { Records } from '../state/records.ts';
import { volumeNamesOf } from './derive.ts';

/**
 * Where the named volumes of a spec version still live, if its stack's removal takes them along; else none. A stack that has
 * given its name away has given up their homes with it: what stands there is the new one's.
 */
export function volumesToGo(records: Records, stackId: string, version: ServiceVersion | undefined): VolumePin[] {
  if (!version) return [];
  return homesOf(records, stackId, version.volumes);
}

/** Homes of volumes that a stack on its way out takes along. */
export function homesOf(records: Records, stackId: string, volumes: ServiceVersion['volumes']): VolumePin[] {
  const record = records.stack(stackId)?.value;
  if (!record?.stack?.removing || !record.removeVolumes || records.leavings.get(stackId)) return [];
  const { name: stack, namespace } = record.stack;
  return volumeNamesOf({ namespace, stack }, volumes).flatMap(
    (volume) => records.volumes.get(namespace, volume)?.value ?? [],
  );
}

/**
 * Homes given to volumes for a task that its node has refused before it ever started (an image that is missing there): they
 * are free again, unless another task has found its home there meanwhile.
 */
export function refusedHomes(records: Records, task: Task): VolumePin[] {
  if (!neverStarted(records, task)) return [];
  return volumesOf(records, task).flatMap((volume) => {
    const pin = records.volumes.get(task.namespace, volume)?.value;
    if (pin?.taskId !== task.id) return [];
    const used = [...records.tasks.values()].some(
      ({ value: other }) =>
        other.nodeId === pin.nodeId &&
        other.namespace === pin.namespace &&
        !neverStarted(records, other) &&
        volumesOf(records, other).includes(volume),
    );
    return used ? [] : [pin];
  });
}

function neverStarted(records: Records, { id }: Task): boolean {
  const status = records.status(id);
  return status?.state === TaskState.TASK_STATE_REJECTED && status.run <= 1 && status.containerId === '';
}

function volumesOf(records: Records, task: Task): string[] {
  const version = records.versions.get(task.serviceId, String(task.specVersion))?.value;
  return version ? volumeNamesOf(task, version.volumes) : [];
}

/**
 * Volumes (by namespace and Docker's name) that nodes have yet to delete for stacks that have given their names away, by
 * node: a new volume of that name would be deleted with them.
 */
export function departingVolumes(records: Records): ReadonlyMap<string, ReadonlySet<string>> {
  const departing = new Map<string, Set<string>>();
  for (const { value } of records.leavings.values()) {
    if (!value.stack || !value.removeVolumes) continue;
    const { id, name: stack, namespace } = value.stack;
    const names = volumeNamesOf({ namespace, stack }, records.specs.get(id)?.value.spec?.volumes ?? []);
    for (const service of records.servicesOf(id)) {
      for (const { value: task } of records.tasksOf(service.value.service?.id ?? '')) {
        const ofNode = departing.get(task.nodeId) ?? new Set();
        departing.set(task.nodeId, ofNode);
        for (const name of names) ofNode.add(`${namespace}/${name}`);
      }
    }
  }
  return departing;
}
