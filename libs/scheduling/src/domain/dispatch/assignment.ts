import type { Assignment } from '@berth/contracts/scheduler';
import type { Task, VolumeSpec } from '@berth/contracts/workload';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import { assert } from '@berth/kernel';
import { hasEndpoint } from '../stack/derive.ts';
import type { Records } from '../state/records.ts';

/** A task as its node's agent gets it: with its service at its version, and where the agent's reports stand. */
export function assignmentOf(records: Records, task: Task, drainDelayMs: number): Assignment {
  const version = records.versions.get(task.serviceId, String(task.specVersion))?.value;
  assert(version?.spec, 'a version stands in the store as long as a task of it does');
  return {
    task,
    spec: version.spec,
    networks: version.networks,
    volumes: version.volumes,
    lastStatus: records.status(task.id),
    drainDelayMs: hasEndpoint(version.spec) ? drainDelayMs : 0,
    removeVolumes: volumesToRemove(records, task),
  };
}

/** Tasks that a node was given, by id. */
export function assignedTasks(records: Records, nodeId: string): Task[] {
  return records
    .tasksOn(nodeId)
    .map(({ value }) => value)
    .filter(({ state }) => state !== TaskState.TASK_STATE_PENDING)
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function volumesToRemove(records: Records, task: Task): VolumeSpec[] {
  const stack = records.stack(task.stackId)?.value;
  if (task.desired !== DesiredState.DESIRED_STATE_REMOVE || !stack?.stack?.removing || !stack.removeVolumes) return [];
  return records.specs.get(task.stackId)?.value.spec?.volumes ?? [];
}
