import { WriteSet } from '@berth/changes';
import type { Service, ServiceRecord, VolumePin } from '@berth/contracts/scheduler';
import { UpdateState } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import type { TxnGroup } from '@berth/kernel';
import { assert, unreachable } from '@berth/kernel';
import { nodeScope, stackScope } from '@berth/workload';
import type { Action } from './orchestration/types.ts';
import type { Assignment } from './placement/assign.ts';
import { hostPortsOf } from './stack/derive.ts';
import type { ServiceFields, StackAction } from './stack/reconcile.ts';
import { homesOf, refusedHomes, volumesToGo } from './stack/volumes.ts';
import { families, owner } from './state/families.ts';
import type { Records } from './state/records.ts';
import type { Held } from './state/table.ts';

/** What the shell lends to writes: ids and the time for show. */
export interface Supplies {
  newId(): string;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

/** Homes of volumes that fit into one txn with the task that makes them. */
const pinsWithTaskMax = 100;

/**
 * What must be written for an action, provided that what it was decided on still stands: mostly one group. Homes of volumes,
 * of which there may be more than a txn takes, come in groups of their own before it: should the rest not be written, the
 * action is decided again, and finds done what is done.
 */
export function writesOf(records: Records, action: Action | StackAction | Assignment, supplies: Supplies): TxnGroup[] {
  const writes = new WriteSet(owner);
  const first: TxnGroup[] = [];
  switch (action.kind) {
    case 'assign': {
      const held = taskOf(records, action.taskId);
      const { nodeId } = action;
      // A home for a volume without a task there would bind the volume to a node that may be lost a moment later.
      if (action.pins.length <= pinsWithTaskMax) for (const pin of action.pins) writes.create(families.volume, pin);
      else first.push(...action.pins.map((pin) => new WriteSet(owner).create(families.volume, pin).group()));
      writes.update(
        families.task,
        { ...held.value, nodeId, state: TaskState.TASK_STATE_ASSIGNED, pending: undefined },
        held,
      );
      break;
    }
    case 'hold': {
      const held = taskOf(records, action.taskId);
      writes.update(families.task, { ...held.value, pending: action.failure }, held);
      break;
    }
    case 'create-task':
      writes.create(families.task, newTask(records, action, supplies));
      break;
    case 'create-cleanup': {
      const task = newTask(records, { ...action, slot: 0, earlierFailedRuns: 0 }, supplies);
      writes.create(families.task, {
        ...task,
        state: TaskState.TASK_STATE_ASSIGNED,
        desired: DesiredState.DESIRED_STATE_REMOVE,
        // It never runs, so it holds nothing.
        reservations: { cpuMillis: 0, memoryBytes: 0 },
        hostPorts: [],
      });
      break;
    }
    case 'adopt-version': {
      const held = taskOf(records, action.taskId);
      const { serviceId } = held.value;
      const spec = records.versions.get(serviceId, String(action.specVersion))?.value.spec;
      const networks = { attachments: spec?.networks ?? [] };
      const { specVersion } = action;
      writes.update(families.task, { ...held.value, specVersion, networks, earlierFailedRuns: 0 }, held);
      break;
    }
    case 'set-desired': {
      const held = taskOf(records, action.taskId);
      writes.update(families.task, { ...held.value, desired: action.desired }, held);
      first.push(...forget(refusedHomes(records, held.value)));
      break;
    }
    case 'orphan-task': {
      const held = taskOf(records, action.taskId);
      const { desired } = action;
      writes.update(families.task, { ...held.value, state: TaskState.TASK_STATE_ORPHANED, desired }, held);
      break;
    }
    case 'delete-task': {
      const held = taskOf(records, action.taskId);
      writes.delete(families.task, held.value, held);
      const status = records.statuses.get(action.taskId);
      if (status) writes.delete(families.status, status.value);
      // With its last word its node has deleted what of the stack's volumes was there.
      const { nodeId, serviceId, specVersion, stackId } = held.value;
      const version = records.versions.get(serviceId, String(specVersion))?.value;
      first.push(...forget(volumesToGo(records, stackId, version).filter((pin) => pin.nodeId === nodeId)));
      break;
    }
    case 'show-service': {
      const { update, message, wanted } = action;
      changeService(writes, records, action.serviceId, (record) => ({
        ...record,
        service: { ...record.service, update, message, wanted },
      }));
      break;
    }
    case 'delete-version': {
      const version = records.versions.get(action.serviceId, String(action.version));
      if (version) writes.delete(families.version, version.value);
      break;
    }
    case 'delete-service': {
      const held = serviceOf(records, action.serviceId);
      writes.delete(families.service, held.value, held);
      for (const version of records.versionsOf(action.serviceId)) writes.delete(families.version, version);
      break;
    }
    case 'forget-node': {
      const held = records.availabilities.get(action.nodeId);
      if (held) writes.delete(families.availability, held.value, held).dropScope(nodeScope(action.nodeId));
      break;
    }
    case 'delete-stack':
      first.push(...deleteStack(writes, records, action.stackId));
      break;
    default:
      writeStack(writes, records, action, supplies);
  }
  return [...first, writes.group()];
}

function forget(pins: readonly VolumePin[]): TxnGroup[] {
  return pins.map((pin) => new WriteSet(owner).delete(families.volume, pin).group());
}

function writeStack(
  writes: WriteSet,
  records: Records,
  action: Exclude<StackAction, { readonly kind: 'delete-stack' }>,
  supplies: Supplies,
): void {
  switch (action.kind) {
    case 'create-service': {
      const service = newService(records, action.stackId, supplies.newId(), action.fields);
      const { replicas, dependsOn } = action.fields;
      writes.create(families.service, { service, replicas, dependsOn, removing: false });
      writes.create(families.version, { serviceId: service.id, version: 1, ...action.content });
      break;
    }
    case 'change-service': {
      const { content, fields, serviceId } = action;
      changeService(writes, records, serviceId, (record) => {
        const specVersion = record.service.specVersion + (content ? 1 : 0);
        if (content) writes.create(families.version, { serviceId, version: specVersion, ...content });
        const message = content ? '' : record.service.message;
        return { ...record, ...fields, service: { ...record.service, ...fields.service, specVersion, message } };
      });
      break;
    }
    case 'retire-service':
      changeService(writes, records, action.serviceId, (record) => ({ ...record, removing: true }));
      break;
    case 'observe-stack':
      changeStack(writes, records, action.stackId, { observedVersion: action.version });
      break;
    case 'show-stack':
      changeStack(writes, records, action.stackId, { waitingForNodes: [...action.waitingForNodes] });
      break;
    default:
      unreachable(action);
  }
}

function newTask(
  records: Records,
  action: Omit<Extract<Action, { kind: 'create-task' }>, 'kind'>,
  supplies: Supplies,
): Task {
  const { service } = serviceOf(records, action.serviceId).value;
  const spec = records.versions.get(action.serviceId, String(action.specVersion))?.value.spec;
  assert(service && spec, 'a task is made of a service and a version that stand in the store');
  return {
    id: supplies.newId(),
    namespace: service.namespace,
    stackId: service.stackId,
    stack: service.stack,
    serviceId: service.id,
    service: service.name,
    specVersion: action.specVersion,
    slot: action.slot,
    nodeId: action.nodeId,
    desired: DesiredState.DESIRED_STATE_RUNNING,
    state: TaskState.TASK_STATE_PENDING,
    image: spec.container?.image ?? '',
    pending: undefined,
    createdAtMs: supplies.wallMs,
    earlierFailedRuns: action.earlierFailedRuns,
    static: false,
    reservations: spec.reservations ?? { cpuMillis: 0, memoryBytes: 0 },
    hostPorts: hostPortsOf(spec),
    replaces: action.replaces ?? '',
    networks: { attachments: spec.networks },
  };
}

function newService(records: Records, stackId: string, id: string, fields: ServiceFields): Service {
  const stack = records.stack(stackId)?.value.stack;
  assert(stack, 'a service is made for a stack that stands in the store');
  const { namespace, name } = stack;
  return {
    ...fields.service,
    id,
    namespace,
    stackId,
    stack: name,
    specVersion: 1,
    running: 0,
    update: UpdateState.UPDATE_STATE_UNSPECIFIED,
    message: '',
  };
}

/** A stack goes with all that carries its id; of its named volumes only those that its removal took along. */
function deleteStack(writes: WriteSet, records: Records, stackId: string): TxnGroup[] {
  const held = records.stack(stackId);
  const spec = records.specs.get(stackId);
  assert(held?.value.stack, 'a stack is deleted that stands in the store');
  writes.delete(placeOf(records, stackId), held.value, held);
  if (spec) writes.delete(families.spec, spec.value);
  writes.dropScope(stackScope(stackId));
  return forget(homesOf(records, stackId, spec?.value.spec?.volumes ?? []));
}

/** Under its name, or among those that have given theirs away. */
function placeOf(records: Records, stackId: string): typeof families.stack {
  return records.leavings.get(stackId) ? families.leaving : families.stack;
}

type StackOf = NonNullable<ReturnType<Records['stack']>>['value'];

function changeStack(
  writes: WriteSet,
  records: Records,
  stackId: string,
  change: Partial<NonNullable<StackOf['stack']>>,
): void {
  const held = records.stack(stackId);
  assert(held?.value.stack, 'a stack is changed that stands in the store');
  writes.update(placeOf(records, stackId), { ...held.value, stack: { ...held.value.stack, ...change } }, held);
}

function changeService(
  writes: WriteSet,
  records: Records,
  serviceId: string,
  change: (record: ServiceRecord & { service: Service }) => ServiceRecord,
): void {
  const held = serviceOf(records, serviceId);
  const { service } = held.value;
  assert(service, 'a service record has a service');
  writes.update(families.service, change({ ...held.value, service }), held);
}

function taskOf(records: Records, taskId: string): Held<Task> {
  const held = records.tasks.get(taskId);
  assert(held, 'what is decided on a task stands in the mirror it was decided on');
  return held;
}

function serviceOf(records: Records, serviceId: string): Held<ServiceRecord> {
  const held = records.services.get(serviceId);
  assert(held, 'what is decided on a service stands in the mirror it was decided on');
  return held;
}
