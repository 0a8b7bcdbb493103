import { RestartCondition, TaskState } from '@berth/contracts/workload';
import { isEnded, isServing, restartPolicyOf } from '@berth/workload';
import type { Slot, SlotDecision, SlotRules } from './slot.ts';
import { create, phaseOf, withActive } from './slot.ts';
import { retire } from './slot-tasks.ts';
import type { SeenTask } from './types.ts';

/**
 * A task has to leave its node: drained, or no longer admitted by a constraint. One that serves stays until another has
 * taken over; one that does not, or whose work would be done twice (a job), stops first.
 */
export function beginMove(slot: Slot, active: SeenTask, rules: SlotRules): SlotDecision {
  const { task } = active;
  const { condition } = restartPolicyOf(rules.restartOf(task.specVersion));
  if (!isServing(active) || condition !== RestartCondition.RESTART_CONDITION_ANY) {
    return { phase: 'waiting', active, actions: [retire(active)] };
  }
  const action = create(slot, successorRules(active, rules), failedRunsOf(active));
  return { phase: phaseOf(active, rules), active, actions: [action] };
}

/**
 * Two tasks of a slot are desired to run. The old one stops when the new one is ready: it serves, and callers are told of
 * it, so that whoever is told that the old one goes knows the new one already. It stops also where no node can take the new
 * one beside it (a host port, a pinned volume): then the slot goes on with the new one alone, placed or pending.
 */
export function continueMove(
  slot: Slot,
  active: SeenTask,
  successor: SeenTask,
  rules: SlotRules,
  nowMs: number,
): SlotDecision {
  const handOver = (): SlotDecision => ({
    phase: phaseOf(successor, rules),
    active: successor,
    actions: [retire(active)],
  });
  const takeBack = (): SlotDecision => ({ phase: phaseOf(active, rules), active, actions: [retire(successor)] });
  if (isEnded(active.state)) return handOver();
  if (!rules.mustLeave(active)) return isServing(active) || !successor.ready ? takeBack() : handOver();
  if (successor.ready || !isServing(active)) return handOver();
  if (rules.mustLeave(successor)) return takeBack();
  const { pending, state } = successor.task;
  if (state === TaskState.TASK_STATE_PENDING && pending && !pending.passing) return handOver();
  const next = withActive(slot, successor, successorRules(active, rules, successor), nowMs);
  return { ...next, phase: phaseOf(active, rules), active, successor };
}

/** What follows on a successor is a successor too. */
function successorRules({ task }: SeenTask, rules: SlotRules, now?: SeenTask): SlotRules {
  return { ...rules, specVersion: now?.task.specVersion ?? task.specVersion, replaces: task.id };
}

function failedRunsOf({ status, task }: SeenTask): number {
  return task.earlierFailedRuns + (status?.failedRuns ?? 0);
}
