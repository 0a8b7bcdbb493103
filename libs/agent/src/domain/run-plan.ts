import type { Assignment } from '@berth/contracts/scheduler';
import type { ContainerSpec, ExposedPort, PortSpec, Resources, Task, VolumeSpec } from '@berth/contracts/workload';
import { NetworkMode } from '@berth/contracts/workload';
import { assert } from '@berth/kernel';
import { containerName, volumeName } from '@berth/workload';
import { label } from './labels.ts';
import type { PreparedNetworks, TaskNetworkRequest } from './task-network.ts';

/** A named volume of the stack, under the name it has in the engine. */
export interface PlannedVolume {
  /** Name in the engine. */
  readonly name: string;
  readonly spec: VolumeSpec;
}

/** One run of one task, in full: what the engine is asked to start. */
export interface RunPlan {
  readonly taskId: string;
  readonly run: number;
  /** Name of the container. */
  readonly name: string;
  /** Empty leaves it to the engine. */
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly container: ContainerSpec;
  readonly reservations?: Resources;
  readonly limits?: Resources;
  readonly ports: readonly PortSpec[];
  readonly expose: readonly ExposedPort[];
  /** Volumes of the stack by their names in it. */
  readonly volumes: ReadonlyMap<string, PlannedVolume>;
  /** Absent with network mode host or none. */
  readonly networks?: PreparedNetworks;
}

/** Who runs it. */
export interface NodeIdentity {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly hostname: string;
}

export function taskOfAssignment(assignment: Assignment) {
  assert(assignment.task, 'an assignment has a task');
  return assignment.task;
}

export function containerOf(assignment: Assignment): ContainerSpec {
  assert(assignment.spec?.container, `assignment ${assignment.task?.id} has a container spec`);
  return assignment.spec.container;
}

/** Is the task on application networks, so that it has endpoints? */
export function hasNetworks(assignment: Assignment): boolean {
  return (
    containerOf(assignment).networkMode === NetworkMode.NETWORK_MODE_UNSPECIFIED &&
    (assignment.spec?.networks.length ?? 0) > 0
  );
}

export function networkRequest(assignment: Assignment): TaskNetworkRequest {
  const task = taskOfAssignment(assignment);
  const declared = new Map(assignment.networks.map((spec) => [spec.name, spec]));
  return {
    taskId: task.id,
    stackId: task.stackId,
    attachments: (assignment.spec?.networks ?? []).map(({ network }) => ({
      network,
      spec: declared.get(network) ?? { name: network, driverOpts: {}, internal: false, externalName: '' },
    })),
  };
}

/**
 * The host name that a container has in its own eyes. Not the task's name: of a dotted host name the engine writes the first
 * label to the container's /etc/hosts, where `web` would then be this task alone; and it answers the host name itself, past
 * any health check, so no service may have the same: hence the id.
 */
export function hostnameOf(task: Pick<Task, 'id' | 'service' | 'slot'>, node: Pick<NodeIdentity, 'hostname'>): string {
  const label = (text: string, max: number): string => text.replace(/[^A-Za-z0-9-]+/gu, '-').slice(0, max);
  const where = task.slot > 0 ? String(task.slot) : label(node.hostname.split('.')[0] ?? '', 20);
  return `${label(task.service, 30)}-${where}-${task.id.slice(0, 6)}`.toLowerCase();
}

export function planRun(
  assignment: Assignment,
  run: number,
  node: NodeIdentity,
  networks: PreparedNetworks | undefined,
): RunPlan {
  const task = taskOfAssignment(assignment);
  const container = containerOf(assignment);
  const ownNamespace = container.networkMode !== NetworkMode.NETWORK_MODE_HOST;
  return {
    taskId: task.id,
    run,
    name: containerName(task.id, run),
    hostname: container.hostname !== '' || !ownNamespace ? container.hostname : hostnameOf(task, node),
    labels: {
      ...container.labels,
      [label.cluster]: node.clusterId,
      [label.task]: task.id,
      [label.run]: String(run),
      [label.stack]: task.stack,
      [label.stackId]: task.stackId,
      [label.service]: task.service,
      [label.node]: node.nodeId,
      ...(task.static ? { [label.static]: 'true' } : {}),
      ...(networks ? { [label.joins]: JSON.stringify(networks.joins) } : {}),
    },
    container,
    reservations: assignment.spec?.reservations,
    limits: assignment.spec?.limits,
    ports: ownNamespace ? (assignment.spec?.ports ?? []) : [],
    expose: ownNamespace ? (assignment.spec?.expose ?? []) : [],
    volumes: new Map(
      assignment.volumes.map((spec) => [
        spec.name,
        {
          name: volumeName(task, spec),
          spec: {
            ...spec,
            labels: { ...spec.labels, [label.cluster]: node.clusterId, [label.stack]: task.stack },
          },
        },
      ]),
    ),
    networks,
  };
}
