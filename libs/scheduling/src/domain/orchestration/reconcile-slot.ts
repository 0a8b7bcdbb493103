import { DesiredState } from '@berth/contracts/workload';
import { isEnded } from '@berth/workload';
import { beginMove, continueMove } from './move.ts';
import type { Slot, SlotDecision, SlotRules } from './slot.ts';
import { withActive, withoutActive } from './slot.ts';
import { isStranded, orphan, retire, tidy } from './slot-tasks.ts';
import type { SeenTask } from './types.ts';

/** Decides about one slot that should have a task; who replaces tasks of an older spec version is the update. */
export function reconcileSlot(slot: Slot, rules: SlotRules, nowMs: number): SlotDecision {
  const stranded = slot.tasks.filter((seen) => isStranded(seen, rules.nodes));
  const wanted = slot.tasks.filter(({ task }) => task.desired === DesiredState.DESIRED_STATE_RUNNING);
  const { active, successor, surplus } = choose(wanted.filter((seen) => !stranded.includes(seen)));
  const actions = [...orphan(stranded), ...surplus.map(retire), ...tidy(slot.tasks, rules)];
  const decision = decide();
  return { ...decision, actions: [...actions, ...decision.actions] };

  function decide(): SlotDecision {
    if (active && successor) return continueMove(slot, active, successor, rules, nowMs);
    if (active && rules.mustLeave(active) && !isEnded(active.state)) return beginMove(slot, active, rules);
    if (active) return withActive(slot, active, rules, nowMs);
    // Of an orphan the slot is free from the next round on, when the record says so.
    if (wanted.length > 0) return { phase: 'waiting', actions: [] };
    return withoutActive(slot, rules, nowMs);
  }
}

/**
 * At most one task of a slot is desired to run, and the one that takes over from it; should there be more, the newest spec
 * and the farthest one stays.
 */
function choose(wanted: readonly SeenTask[]): {
  readonly active?: SeenTask;
  readonly successor?: SeenTask;
  readonly surplus: readonly SeenTask[];
} {
  const sorted = [...wanted].sort(
    (a, b) =>
      b.task.specVersion - a.task.specVersion ||
      Number(isEnded(a.state)) - Number(isEnded(b.state)) ||
      b.state - a.state ||
      a.createRevision - b.createRevision ||
      (a.task.id < b.task.id ? -1 : 1),
  );
  const [best] = sorted;
  if (!best) return { surplus: [] };
  const active = sorted.find(({ task }) => task.id === best.task.replaces) ?? best;
  const successor = sorted.find(({ task }) => task.replaces === active.task.id);
  const surplus = sorted.filter((seen) => seen !== active && seen !== successor);
  return { active, surplus, ...(successor ? { successor } : {}) };
}
