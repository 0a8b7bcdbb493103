import { UpdateState } from '@berth/contracts/scheduler';
import { TaskState } from '@berth/contracts/workload';
import { isServing } from '@berth/workload';
import { endOf } from './depends-on.ts';
import type { SlotDecision } from './slot.ts';
import { retire } from './slot-tasks.ts';
import type { Action, ServiceScene } from './types.ts';

/** A slot and what was decided about it. */
export interface NamedSlot {
  /** "web.2", or for a global service "web on <host>". */
  readonly name: string;
  readonly decision: SlotDecision;
}

export interface UpdateDecision {
  readonly actions: readonly Action[];
  readonly update: UpdateState;
  readonly message: string;
}

/**
 * Replaces tasks of older spec versions slot by slot, stop-first: the next slot only when all that were replaced run and
 * are healthy, or are done. A failure of a new task halts the update until the spec changes. Slots are in their order.
 */
export function reconcileUpdate(scene: ServiceScene, slots: readonly NamedSlot[]): UpdateDecision {
  const current = scene.version.version;
  const before = scene.record.service?.update ?? UpdateState.UPDATE_STATE_UNSPECIFIED;
  const outdated = slots.filter(({ decision }) => isOutdated(decision, current));
  const renewed = slots.filter(({ decision }) => !isOutdated(decision, current));
  // Tasks that never got a node run nothing: they make way at once, in no order.
  const idle =
    before === UpdateState.UPDATE_STATE_HALTED
      ? []
      : outdated.filter(({ decision }) => decision.active?.task.state === TaskState.TASK_STATE_PENDING);
  const actions = idle.flatMap(({ decision }) => retireAll(decision));
  const waiting = outdated.filter((slot) => !idle.includes(slot));
  const final = renewed.find(({ decision }) => decision.phase === 'failed');

  if (waiting.length === 0) {
    if (before === UpdateState.UPDATE_STATE_UNSPECIFIED || renewed.every(isSettled)) {
      return { actions, update: UpdateState.UPDATE_STATE_UNSPECIFIED, message: final ? failure(final) : '' };
    }
    if (final) return { actions, update: UpdateState.UPDATE_STATE_HALTED, message: failure(final) };
    return { actions, update: before, message: scene.record.service?.message ?? '' };
  }
  if (before === UpdateState.UPDATE_STATE_HALTED) {
    return { actions, update: before, message: scene.record.service?.message ?? '' };
  }
  const failed = renewed.find(({ decision }) => hasFailed(decision));
  if (failed) {
    const left = waiting.length === 1 ? '1 slot stays' : `${waiting.length} slots stay`;
    return {
      actions,
      update: UpdateState.UPDATE_STATE_HALTED,
      message: `update halted: ${failure(failed)}; ${left} at the version before`,
    };
  }
  const updating = { update: UpdateState.UPDATE_STATE_UPDATING, message: '' };
  // What runs is not stopped for a version whose first tasks may not start yet.
  if (scene.gate.kind === 'held') return { actions, ...updating, message: `update waits: ${scene.gate.reason}` };
  if (idle.length > 0 || !renewed.every(isSettled)) return { actions, ...updating };
  const next = waiting.find(({ decision }) => decision.active && !isServing(decision.active)) ?? waiting[0];
  if (next) actions.push(...retireAll(next.decision));
  return { actions, ...updating };
}

/** Of a slot that is being moved both tasks make way. */
function retireAll({ active, successor }: SlotDecision): Action[] {
  return [active, successor].flatMap((seen) => (seen ? [retire(seen)] : []));
}

function isOutdated({ active }: SlotDecision, current: number): boolean {
  return active !== undefined && active.task.specVersion !== current;
}

function isSettled({ decision }: NamedSlot): boolean {
  return decision.phase === 'running' || decision.phase === 'done';
}

/** A failed run counts until the task serves: a start that needs two tries is a failed start. */
function hasFailed({ active, phase }: SlotDecision): boolean {
  if (phase === 'failed') return true;
  if (!active || phase === 'done' || isServing(active)) return false;
  return (
    active.state === TaskState.TASK_STATE_REJECTED ||
    active.task.earlierFailedRuns + (active.status?.failedRuns ?? 0) > 0
  );
}

function failure({ name, decision: { active } }: NamedSlot): string {
  return active ? `${name} ${endOf(active)}` : `${name} failed`;
}
