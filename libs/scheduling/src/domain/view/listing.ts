import type { Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type {
  Change,
  ListServicesRequest,
  ListTasksRequest,
  NodeView,
  Service,
  Stack,
  TaskView,
} from '@berth/contracts/scheduler';
import { Availability } from '@berth/contracts/scheduler';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import { effectiveState, isEnded } from '@berth/workload';
import type { Records } from '../state/records.ts';

type Resources = ReadonlyMap<string, Change>;

export function listStacks(resources: Resources, namespace: string): Stack[] {
  return [...resources.values()]
    .flatMap(({ resource }) => (resource?.$case === 'stack' ? [resource.value] : []))
    .filter((stack) => namespace === '' || stack.namespace === namespace)
    .sort(by((stack) => [stack.namespace, stack.name]));
}

export function listServices(resources: Resources, request: Omit<ListServicesRequest, '$type'>): Service[] {
  return [...resources.values()]
    .flatMap(({ resource }) => (resource?.$case === 'service' ? [resource.value] : []))
    .filter((service) => matches(service.namespace, request.namespace) && matches(service.stack, request.stack))
    .sort(by((service) => [service.namespace, service.stack, service.name]));
}

export function listTasks(resources: Resources, request: ListTasksRequest): TaskView[] {
  return [...resources.values()]
    .flatMap(({ resource }) => (resource?.$case === 'task' ? [resource.value] : []))
    .filter(
      ({ task }) =>
        task &&
        matches(task.namespace, request.namespace) &&
        matches(task.stack, request.stack) &&
        matches(task.service, request.service),
    )
    .filter((view) => request.all || !isHistory(view))
    .sort(
      by(({ task }) => [
        task?.namespace ?? '',
        task?.stack ?? '',
        task?.service ?? '',
        task?.slot ?? 0,
        task?.nodeId ?? '',
        -(task?.createdAtMs ?? 0),
      ]),
    );
}

/** A task that has ended and should not run: what its slot had before. */
export function isHistory({ task, status }: TaskView): boolean {
  return (
    task !== undefined && task.desired !== DesiredState.DESIRED_STATE_RUNNING && isEnded(effectiveState(task, status))
  );
}

/** A node with what is promised on it. */
export function nodeView(records: Records, node: Node): NodeView {
  const usage = records.usage(node.id);
  const statics = records.statics.get(node.id)?.value.tasks.length ?? 0;
  const wanted = records
    .tasksOn(node.id)
    .filter(
      ({ value }) =>
        value.desired === DesiredState.DESIRED_STATE_RUNNING &&
        value.state !== TaskState.TASK_STATE_PENDING &&
        !isEnded(records.stateOf(value)),
    ).length;
  return {
    id: node.id,
    hostname: node.hostname,
    address: node.address,
    status: statusName(node.status),
    availability: records.availabilities.get(node.id)?.value.availability || Availability.AVAILABILITY_ACTIVE,
    manager: node.manager,
    total: node.resources,
    reserved: { cpuMillis: usage.cpuMillis, memoryBytes: usage.memoryBytes },
    tasks: wanted + statics,
    labels: node.labels,
    engineLabels: node.engineLabels,
    version: node.version,
    volumes: [...records.volumes.values()]
      .filter(({ value }) => value.nodeId === node.id)
      .map(({ value }) => value.volume)
      .sort(),
  };
}

function statusName(status: NodeStatus): string {
  switch (status) {
    case NodeStatus.NODE_STATUS_READY:
      return 'ready';
    case NodeStatus.NODE_STATUS_SUSPECT:
      return 'suspect';
    case NodeStatus.NODE_STATUS_LOST:
      return 'lost';
    case NodeStatus.NODE_STATUS_LEFT:
      return 'left';
    default:
      return 'unknown';
  }
}

function matches(value: string, wanted: string): boolean {
  return wanted === '' || value === wanted;
}

function by<T>(keys: (item: T) => readonly (string | number)[]): (a: T, b: T) => number {
  return (a, b) => {
    const [left, right] = [keys(a), keys(b)];
    for (const [index, value] of left.entries()) {
      const other = right[index] ?? '';
      if (value !== other) return value < other ? -1 : 1;
    }
    return 0;
  };
}
