import {
  NodeAvailability,
  ServiceRecord,
  ServiceVersion,
  SpecRecord,
  StackRecord,
  StaticTasks,
  VolumePin,
} from '@berth/contracts/scheduler';
import { Task, TaskStatus } from '@berth/contracts/workload';
import type { Codec, KeyFamily } from '@berth/kernel';
import { keyFamily } from '@berth/kernel';
import { nodeScope, stackScope, staticStackId } from '@berth/workload';

/** Name of the service in the store, on the bus and in identities. */
export const owner = 'scheduler';

/** Key of the leader's election. */
export const leaderKey = `${owner}/leader`;

/** A key family whose values tell their id. */
export interface Family<T> extends KeyFamily<T> {
  idOf(value: T): readonly string[];
}

function family<T>(
  kind: string,
  codec: Codec<T>,
  id: (value: T) => readonly string[],
  scopes: (value: T) => readonly string[] = () => [],
): Family<T> {
  return { ...keyFamily({ owner, kind, codec, id, scopes }), idOf: id };
}

/** Everything the scheduler stores. A status names no stack: whoever writes one touches the scope of its task itself. */
export const families = {
  /** `stack/<namespace>/<name>`: a name is taken once. */
  stack: family(
    'stack',
    StackRecord,
    ({ stack }) => [stack?.namespace ?? '', stack?.name ?? ''],
    ({ stack }) => (stack ? [stackScope(stack.id)] : []),
  ),
  /** `leaving/<stack id>`: a stack on its way out that has given its name to a new one. */
  leaving: family(
    'leaving',
    StackRecord,
    ({ stack }) => [stack?.id ?? ''],
    ({ stack }) => (stack ? [stackScope(stack.id)] : []),
  ),
  /** `spec/<stack id>` */
  spec: family('spec', SpecRecord, ({ stackId }) => [stackId]),
  /** `service/<id>` */
  service: family(
    'service',
    ServiceRecord,
    ({ service }) => [service?.id ?? ''],
    ({ service }) => (service ? [stackScope(service.stackId)] : []),
  ),
  /** `version/<service id>/<version>` */
  version: family('version', ServiceVersion, ({ serviceId, version }) => [serviceId, String(version)]),
  /** `task/<id>` */
  task: family(
    'task',
    Task,
    ({ id }) => [id],
    ({ stackId }) => [stackScope(stackId)],
  ),
  /** `status/<task id>` */
  status: family('status', TaskStatus, ({ taskId }) => [taskId]),
  /** `availability/<node id>` */
  availability: family(
    'availability',
    NodeAvailability,
    ({ nodeId }) => [nodeId],
    ({ nodeId }) => [nodeScope(nodeId)],
  ),
  /** `volume/<namespace>/<Docker's name>` */
  volume: family('volume', VolumePin, ({ namespace, volume }) => [namespace, volume]),
  /** `static/<node id>` */
  static: family(
    'static',
    StaticTasks,
    ({ nodeId }) => [nodeId],
    () => [stackScope(staticStackId)],
  ),
} as const;
