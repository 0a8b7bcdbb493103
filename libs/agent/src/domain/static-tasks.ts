import type { Assignment } from '@berth/contracts/scheduler';
import type { ServiceSpec, StackSpec, TaskStatus } from '@berth/contracts/workload';
import {
  DependencyCondition,
  DesiredState,
  Health,
  RestartCondition,
  ServiceSpec as ServiceSpecs,
  TaskState,
} from '@berth/contracts/workload';
import { staticStackId } from '@berth/workload';
import { containerOf, taskOfAssignment } from './run-plan.ts';

/** Whose manager's static tasks these are. */
export interface StaticOwner {
  readonly clusterId: string;
  /** Empty before the node has joined. */
  readonly nodeId: string;
  /** Sets the ids of two managers' tasks apart, also before they have node ids. */
  readonly address: string;
  /** Milliseconds since 1970 since when there are static tasks here; for show. */
  readonly sinceMs: number;
}

/** The services of a manifest as tasks of this node. Same spec, same id: an agent that comes back knows its own again; a
 *  changed spec is another task, and the old one is stopped. */
export function staticAssignments(manifest: StackSpec, owner: StaticOwner): Assignment[] {
  return manifest.services.map((spec) => {
    const body = ServiceSpecs.encode(spec).finish();
    const id = `s-${spec.name}-${hash(`${owner.clusterId}/${owner.address}/`, body)}`;
    return {
      task: {
        id,
        namespace: manifest.namespace,
        stackId: staticStackId,
        stack: staticStackId,
        serviceId: `${staticStackId}-${spec.name}`,
        service: spec.name,
        specVersion: 1,
        slot: 1,
        nodeId: owner.nodeId,
        desired: DesiredState.DESIRED_STATE_RUNNING,
        state: TaskState.TASK_STATE_ASSIGNED,
        image: spec.container?.image ?? '',
        pending: undefined,
        createdAtMs: owner.sinceMs,
        earlierFailedRuns: 0,
        static: true,
        reservations: spec.reservations,
        hostPorts: spec.expose.map((p) => ({ target: p.port, published: p.port, protocol: p.protocol, hostIp: '' })),
        replaces: '',
        networks: undefined,
      },
      spec,
      networks: manifest.networks,
      volumes: manifest.volumes,
      lastStatus: undefined,
      drainDelayMs: 0,
      removeVolumes: [],
    };
  });
}

/** A service that is to end by itself: it runs once in each life of the agent. */
export function isOneShot(spec: ServiceSpec | undefined): boolean {
  const condition = spec?.restart?.condition;
  return (
    condition === RestartCondition.RESTART_CONDITION_NONE || condition === RestartCondition.RESTART_CONDITION_ON_FAILURE
  );
}

/** Why a static task may not start yet; empty if it may. */
export function staticHold(
  own: Assignment,
  all: readonly Assignment[],
  statusOf: (taskId: string) => TaskStatus | undefined,
  olderVersionLeft: boolean,
): string {
  if (olderVersionLeft) return 'waiting for the end of its earlier version';
  for (const { service, condition } of own.spec?.dependsOn ?? []) {
    const awaited = all.find((a) => a.task?.service === service);
    const status = awaited && statusOf(taskOfAssignment(awaited).id);
    const reached = awaited && status && hasReached(condition, awaited, status);
    if (!reached) return `waiting for ${service}`;
  }
  return '';
}

function hasReached(condition: DependencyCondition, awaited: Assignment, status: TaskStatus): boolean {
  const running = status.state === TaskState.TASK_STATE_RUNNING;
  const complete = status.state === TaskState.TASK_STATE_COMPLETE;
  switch (condition) {
    case DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY:
      return complete;
    case DependencyCondition.DEPENDENCY_CONDITION_HEALTHY:
      return running && (containerOf(awaited).healthcheck === undefined || status.health === Health.HEALTH_HEALTHY);
    default:
      return running || complete || status.state === TaskState.TASK_STATE_STARTING;
  }
}

/** 64 bits of FNV-1a, in base 36: enough to tell the versions of a handful of services apart. */
function hash(prefix: string, body: Uint8Array): string {
  let value = 0xcbf29ce484222325n;
  for (const byte of [...new TextEncoder().encode(prefix), ...body]) {
    value = ((value ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return value.toString(36).padStart(13, '0');
}
