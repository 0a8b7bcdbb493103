import { WriteSet } from '@berth/changes';
import type { ServiceChange, Stack } from '@berth/contracts/scheduler';
import type { StackSpec } from '@berth/contracts/workload';
import { StackSpec as StackSpecMessage } from '@berth/contracts/workload';
import type { TxnGroup } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { defaultNamespace } from '@berth/workload';
import { families, owner } from '../state/families.ts';
import type { Records } from '../state/records.ts';
import { same } from './canonical.ts';
import type { EligibleNodes } from './diff.ts';
import { diffStack } from './diff.ts';
import { specBytesMax } from './validate.ts';

/** What accepting a wish writes; `unchanged`: it is so already, and nothing is written. */
export type Acceptance =
  | { readonly kind: 'unchanged'; readonly stack: Stack }
  | {
      readonly kind: 'write';
      readonly stack: Stack;
      readonly group: TxnGroup;
      readonly changes: readonly ServiceChange[];
    };

export interface AcceptOptions {
  /** Id of the stack, should it be new. */
  readonly newId: string;
  /** Version that the stack must still be at; 0: it must not exist. Undefined: whatever it is. */
  readonly expectedVersion: number | undefined;
  readonly eligible: EligibleNodes;
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
 * changed the stack meanwhile. FailedPrecondition with reason STACK_REMOVING while an earlier stack of the name goes;
 * Conflict with reason VERSION_MISMATCH; InvalidArgument with reason SPEC_TOO_LARGE.
 */
export function acceptStack(records: Records, spec: StackSpec, options: AcceptOptions): Acceptance {
  const held = records.stacks.get(spec.namespace, spec.name);
  const before = held?.value.stack;
  if (before?.removing) throw removingError(before);
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
  writes.put(families.spec, { stackId: stack.id, spec });
  return { kind: 'write', stack, group: writes.group(), changes: diffStack(specBefore, spec, options.eligible) };
}

/** Starts the removal of a stack; asked again, only adds its volumes. NotFound if there is none. */
export function acceptRemoval(records: Records, namespace: string, name: string, volumes: boolean): Acceptance {
  const held = records.stacks.get(namespace || defaultNamespace, name);
  if (!held?.value.stack) {
    throw new BerthError('NotFound', `there is no stack ${JSON.stringify(name)}`, { reason: 'NO_SUCH_STACK' });
  }
  const stack: Stack = { ...held.value.stack, removing: true };
  const removeVolumes = held.value.removeVolumes || volumes;
  if (held.value.stack.removing && held.value.removeVolumes === removeVolumes) {
    return { kind: 'unchanged', stack: held.value.stack };
  }
  const group = new WriteSet(owner).update(families.stack, { stack, removeVolumes }, held).group();
  return { kind: 'write', stack, group, changes: [] };
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
