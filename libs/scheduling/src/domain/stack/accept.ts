import { WriteSet } from '@berth/changes';
import { NodeStatus } from '@berth/contracts/registry';
import type { ServiceChange, Stack } from '@berth/contracts/scheduler';
import {
  ServiceRecord as ServiceRecordMessage,
  ServiceVersion as ServiceVersionMessage,
  Stack as StackMessage,
} from '@berth/contracts/scheduler';
import type { StackSpec, VolumeSpec } from '@berth/contracts/workload';
import { StackSpec as StackSpecMessage } from '@berth/contracts/workload';
import type { TxnGroup } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { defaultNamespace } from '@berth/workload';
import type { NodesView } from '../orchestration/types.ts';
import { families, owner } from '../state/families.ts';
import type { Records } from '../state/records.ts';
import { same } from './canonical.ts';
import type { EligibleNodes } from './diff.ts';
import { diffStack } from './diff.ts';
import { specBytesMax } from './validate.ts';
import { homesOf } from './volumes.ts';

/** What accepting a wish writes; `unchanged`: it is so already, and nothing is written. */
export type Acceptance =
  | { readonly kind: 'unchanged'; readonly stack: Stack }
  | {
      readonly kind: 'write';
      readonly stack: Stack;
      /** In order; should a later one not hold, the earlier ones do no harm. */
      readonly groups: readonly TxnGroup[];
      readonly changes: readonly ServiceChange[];
    };

export interface AcceptOptions {
  /** Id of the stack, should it be new. */
  readonly newId: string;
  /** Version that the stack must still be at; 0: it must not exist. Undefined: whatever it is. */
  readonly expectedVersion: number | undefined;
  readonly eligible: EligibleNodes;
  /** Node that has the relative paths its services mount, or none; throws where that is not clear. */
  readonly bindNode: () => string;
  /** May a stack on its way out give its name to a new one? */
  readonly givesWay: (stackId: string) => boolean;
}

/** The spec with its parts in order and its namespace said, so that the same wish is the same value. */
export function normalise(spec: StackSpec): StackSpec {
  const byName = <T extends { readonly name: string }>(list: readonly T[]): T[] =>
    [...list].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return {
    ...spec,
    namespace: spec.namespace || defaultNamespace,
    services: byName(spec.services),
    networks: byName(spec.networks),
    volumes: byName(spec.volumes),
  };
}

/**
 * Accepts a normalised spec whole: one value under one key, with the stack's version beside it, provided that nobody else
 * changed the stack meanwhile. FailedPrecondition with reason STACK_REMOVING while an earlier stack of the name goes, unless
 * it waits for lost nodes alone: then that one gives its name away, and is cleaned up when they return;
 * Conflict with reason VERSION_MISMATCH; InvalidArgument with reason SPEC_TOO_LARGE, or RELATIVE_BIND.
 */
export function acceptStack(records: Records, spec: StackSpec, options: AcceptOptions): Acceptance {
  const held = records.stacks.get(spec.namespace, spec.name);
  const leaving = held?.value.stack?.removing ? held.value.stack : undefined;
  if (leaving && !options.givesWay(leaving.id)) throw removingError(leaving);
  const before = leaving ? undefined : held?.value.stack;
  const specBefore = before && records.specs.get(before.id)?.value.spec;
  // First of all: who asks again after an answer was lost finds the wish granted, not a conflict with itself.
  if (before && specBefore && same(specBefore, spec)) return { kind: 'unchanged', stack: before };
  checkVersion(before?.version ?? 0, options.expectedVersion);
  const bytes = StackSpecMessage.encode(spec).finish().length;
  if (bytes > specBytesMax) {
    throw new BerthError('InvalidArgument', `the spec takes ${bytes} bytes; at most ${specBytesMax}`, {
      reason: 'SPEC_TOO_LARGE',
    });
  }
  const stack: Stack = {
    id: before?.id ?? options.newId,
    namespace: spec.namespace,
    name: spec.name,
    version: (before?.version ?? 0) + 1,
    removing: false,
    waitingForNodes: [],
    networks: spec.networks,
    static: false,
    observedVersion: before?.observedVersion ?? 0,
  };
  const writes = new WriteSet(owner);
  const record = { stack, removeVolumes: false };
  if (held) writes.update(families.stack, record, held);
  else writes.create(families.stack, record);
  if (held && leaving) writes.create(families.leaving, held.value);
  writes.put(families.spec, { stackId: stack.id, spec, bindNodeId: options.bindNode() });
  const changes = diffStack(specBefore, spec, options.eligible);
  return { kind: 'write', stack, groups: [...forgottenHomes(records, leaving), writes.group()], changes };
}

/**
 * Does a stack on its way out wait for lost nodes alone? Nobody knows when they come back, so a new stack may have its name.
 * Nothing of the two clashes: networks, containers and records carry the stack's id.
 */
export function givesWay(records: Records, nodes: NodesView, stackId: string): boolean {
  const services = records.servicesOf(stackId);
  const tasks = services.map(({ value }) => records.tasksOf(value.service?.id ?? ''));
  // A service without a task may still have volumes to be deleted somewhere.
  if (tasks.some((ofService) => ofService.length === 0)) return false;
  const isOff = (nodeId: string): boolean => nodes.get(nodeId)?.status === NodeStatus.NODE_STATUS_LOST;
  if (!tasks.flat().every(({ value }) => isOff(value.nodeId))) return false;
  // What is left may also be a block of a network that such a node has yet to hand back.
  return tasks.length > 0 || [...nodes.all()].some(({ id }) => isOff(id));
}

/** Volumes that were to go with a stack have no home any more when its name goes to a new one. */
function forgottenHomes(records: Records, leaving: Stack | undefined): TxnGroup[] {
  if (!leaving) return [];
  const homes = homesOf(records, leaving.id, records.specs.get(leaving.id)?.value.spec?.volumes ?? []);
  return homes.map((pin) => new WriteSet(owner).delete(families.volume, pin).group());
}

export interface RemovalOptions {
  readonly namespace: string;
  readonly name: string;
  /** Its named volumes too. */
  readonly volumes: boolean;
  readonly newId: () => string;
}

/** Starts the removal of a stack; asked again, only adds its volumes: also when the stack has gone without them. NotFound if
 *  there is neither. */
export function acceptRemoval(records: Records, options: RemovalOptions): Acceptance {
  const { name, volumes } = options;
  const namespace = options.namespace || defaultNamespace;
  const held = records.stacks.get(namespace, name);
  if (!held?.value.stack) return acceptVolumeRemoval(records, { ...options, namespace });
  const stack: Stack = { ...held.value.stack, removing: true };
  const removeVolumes = held.value.removeVolumes || volumes;
  if (held.value.stack.removing && held.value.removeVolumes === removeVolumes) {
    return { kind: 'unchanged', stack: held.value.stack };
  }
  const group = new WriteSet(owner).update(families.stack, { stack, removeVolumes }, held).group();
  return { kind: 'write', stack, groups: [group], changes: [] };
}

/** Docker users expect `down --volumes` to work after a `down` without: what is left of the stack are its volumes' homes. */
function acceptVolumeRemoval(records: Records, { name, namespace, newId, volumes }: RemovalOptions): Acceptance {
  const left = [...records.volumes.values()]
    .map(({ value }) => value)
    .filter((pin) => pin.namespace === namespace && pin.stack === name)
    .map(({ volume }): VolumeSpec => ({ name: volume, externalName: volume, driver: '', driverOpts: {}, labels: {} }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (left.length === 0 || !volumes) {
    const remedy = left.length > 0 ? '; volumes of it are still there: remove them with --volumes' : '';
    throw new BerthError('NotFound', `there is no stack ${JSON.stringify(name)}${remedy}`, { reason: 'NO_SUCH_STACK' });
  }
  const stack = StackMessage.fromPartial({
    id: newId(),
    namespace,
    name,
    version: 1,
    removing: true,
    observedVersion: 1,
  });
  // Nothing of it ever runs: it is there to be removed, and with it what it names.
  const service = {
    id: newId(),
    namespace,
    stackId: stack.id,
    stack: name,
    name: 'volumes',
    mode: 'replicated',
    specVersion: 1,
  };
  const writes = new WriteSet(owner);
  writes.create(families.stack, { stack, removeVolumes: true });
  writes.put(families.spec, {
    stackId: stack.id,
    spec: StackSpecMessage.fromPartial({ namespace, name, volumes: left }),
    bindNodeId: '',
  });
  writes.create(families.service, ServiceRecordMessage.fromPartial({ service, removing: true }));
  const version = { serviceId: service.id, version: 1, spec: { name: service.name }, volumes: left };
  writes.create(families.version, ServiceVersionMessage.fromPartial(version));
  return { kind: 'write', stack, groups: [writes.group()], changes: [] };
}

function removingError(stack: Stack): BerthError {
  const waiting = stack.waitingForNodes.length > 0 ? `; it waits for nodes ${stack.waitingForNodes.join(', ')}` : '';
  return new BerthError('FailedPrecondition', `stack ${stack.name} is still being removed${waiting}`, {
    reason: 'STACK_REMOVING',
    details: { stackId: stack.id, waitingForNodes: stack.waitingForNodes.join(',') },
  });
}

function checkVersion(actual: number, expected: number | undefined): void {
  if (expected === undefined || expected === actual) return;
  throw new BerthError('Conflict', `the stack is at version ${actual}, not ${expected}: it was changed meanwhile`, {
    reason: 'VERSION_MISMATCH',
    details: { version: String(actual) },
  });
}
