import { NodeStatus } from '@berth/contracts/registry';
import type { RestartPolicy } from '@berth/contracts/workload';
import { DesiredState, RestartCondition, TaskState } from '@berth/contracts/workload';
import { backoff, isServing, restartDelay, restartPolicyOf, restarts } from '@berth/workload';
import { freesSlotAtMs, retire } from './slot-tasks.ts';
import type { Action, Limits, NodesView, SeenTask } from './types.ts';

/**
 * How a slot stands. `vacant`: a task is created now; `waiting`: later; `starting`: it has one that does not run yet;
 * `done`: its run ended well and no other is due; `failed`: the policy allows no other; `stopping`: an earlier task still
 * stops.
 */
export type SlotPhase = 'vacant' | 'waiting' | 'starting' | 'running' | 'done' | 'failed' | 'stopping';

export interface Slot {
  readonly serviceId: string;
  /** From 1; 0 for a global service. */
  readonly number: number;
  /** Node of a global service's slot; empty otherwise. */
  readonly nodeId: string;
  readonly tasks: readonly SeenTask[];
}

export interface SlotDecision {
  readonly phase: SlotPhase;
  /** The task that is desired to run, if there is one. */
  readonly active?: SeenTask;
  /** The one that takes over from it, desired to run too, while its node is to be left. */
  readonly successor?: SeenTask;
  readonly actions: readonly Action[];
  readonly wakeAtMs?: number;
}

export interface SlotRules {
  /** Of a task that is made now. */
  readonly specVersion: number;
  /** By spec version. */
  readonly restartOf: (specVersion: number) => RestartPolicy | undefined;
  readonly limits: Limits;
  readonly nodes: NodesView;
  /** Must a task leave its node, though that is there? */
  readonly mustLeave: (seen: SeenTask) => boolean;
  /** Task of the slot that one made now takes over from. */
  readonly replaces?: string;
}

/** Decides about a slot by the one task that is desired to run; who replaces tasks of an older spec version is the update. */
export function withActive(slot: Slot, active: SeenTask, rules: SlotRules, nowMs: number): SlotDecision {
  const { task, state, status, sinceMs } = active;
  const policy = rules.restartOf(rules.specVersion);
  if (task.specVersion !== rules.specVersion) return { phase: phaseOf(active, rules), active, actions: [] };
  const failedRuns = task.earlierFailedRuns + (status?.failedRuns ?? 0);
  const hold = (phase: SlotPhase, wakeAtMs?: number): SlotDecision => ({
    phase,
    active,
    actions: [],
    ...(wakeAtMs === undefined ? {} : { wakeAtMs }),
  });
  /** Ended: the next task may come at once, or when a wait is over. */
  const replaceAfter = (delayMs: number): SlotDecision =>
    nowMs < sinceMs + delayMs
      ? hold('waiting', sinceMs + delayMs)
      : { phase: 'waiting', active, actions: [retire(active), create(slot, rules, failedRuns)] };

  switch (state) {
    case TaskState.TASK_STATE_PENDING:
      return hold('starting');
    case TaskState.TASK_STATE_ASSIGNED: {
      // It will be back, or lost; or the brake holds, and nothing is to move.
      if (rules.nodes.get(task.nodeId)?.status === NodeStatus.NODE_STATUS_SUSPECT) return hold('starting');
      const deadline =
        sinceMs +
        backoff(rules.limits.acceptWithinMs, 1 + neverAccepted(slot, rules), 16 * rules.limits.acceptWithinMs);
      return nowMs < deadline
        ? hold('starting', deadline)
        : { phase: 'waiting', active, actions: [retire(active), create(slot, rules, failedRuns)] };
    }
    case TaskState.TASK_STATE_COMPLETE:
      if (phaseOf(active, rules) === 'done') return hold('done');
      return replaceAfter(restartPolicyOf(policy).delayMs);
    case TaskState.TASK_STATE_FAILED:
      if (!restarts(policy, 'failure', failedRuns)) return hold('failed');
      return replaceAfter(restartDelay(policy, failedRuns));
    case TaskState.TASK_STATE_REJECTED:
      return replaceAfter(
        backoff(rules.limits.rejectedDelayMs, rejectedInARow(slot, rules), rules.limits.rejectedDelayMaxMs),
      );
    case TaskState.TASK_STATE_SHUTDOWN:
    case TaskState.TASK_STATE_ORPHANED:
      return replaceAfter(0);
    default:
      break;
  }
  // Restarts happen in place, by the agent; but not for ever on a node that may be the reason.
  const recent = recentFailures(active, rules.limits, nowMs);
  if (recent >= rules.limits.failedRunsMax && !isServing(active) && restarts(policy, 'failure', failedRuns)) {
    return { phase: 'waiting', active, actions: [retire(active)] };
  }
  return hold(phaseOf(active, rules));
}

/** Decides about a slot in which no task is desired to run. */
export function withoutActive(slot: Slot, rules: SlotRules, nowMs: number): SlotDecision {
  const policy = rules.restartOf(rules.specVersion);
  // Stop-first: what was there must have ended.
  const freeAtMs = Math.max(Number.NEGATIVE_INFINITY, ...slot.tasks.map((seen) => freesSlotAtMs(seen, rules)));
  if (freeAtMs > nowMs) {
    return { phase: 'stopping', actions: [], ...(Number.isFinite(freeAtMs) ? { wakeAtMs: freeAtMs } : {}) };
  }
  const last = slot.tasks
    .filter(({ task }) => task.specVersion === rules.specVersion)
    .reduce<SeenTask | undefined>(
      (best, seen) => (best && best.createRevision >= seen.createRevision ? best : seen),
      undefined,
    );
  const failedRuns = last ? last.task.earlierFailedRuns + (last.status?.failedRuns ?? 0) : 0;
  if (failedRuns > 0 && last) {
    if (!restarts(policy, 'failure', failedRuns)) return { phase: 'failed', active: last, actions: [] };
    // A slot that moves on because of its failures waits as a restart in place would; one whose node was lost does not.
    const dueMs =
      recentFailures(last, rules.limits, nowMs) > 0 ? last.sinceMs + restartDelay(policy, failedRuns) : nowMs;
    if (nowMs < dueMs) return { phase: 'waiting', actions: [], wakeAtMs: dueMs };
  }
  return { phase: 'vacant', actions: [create(slot, rules, failedRuns)] };
}

/** How a slot stands by the task that should run in it. */
export function phaseOf(seen: SeenTask, { restartOf }: Pick<SlotRules, 'restartOf'>): SlotPhase {
  const restart = restartOf(seen.task.specVersion);
  switch (seen.state) {
    case TaskState.TASK_STATE_RUNNING:
      return isServing(seen) ? 'running' : 'starting';
    case TaskState.TASK_STATE_COMPLETE:
      return restartPolicyOf(restart).condition === RestartCondition.RESTART_CONDITION_ANY ? 'waiting' : 'done';
    case TaskState.TASK_STATE_FAILED:
      return 'failed';
    case TaskState.TASK_STATE_REJECTED:
    case TaskState.TASK_STATE_SHUTDOWN:
    case TaskState.TASK_STATE_ORPHANED:
      return 'waiting';
    default:
      return 'starting';
  }
}

function recentFailures({ failuresMs }: SeenTask, { failedRunsWindowMs }: Limits, nowMs: number): number {
  return failuresMs.filter((atMs) => atMs > nowMs - failedRunsWindowMs).length;
}

function neverAccepted({ tasks }: Slot, { specVersion }: SlotRules): number {
  return tasks.filter(
    ({ task, state }) =>
      task.specVersion === specVersion &&
      task.desired !== DesiredState.DESIRED_STATE_RUNNING &&
      state === TaskState.TASK_STATE_ASSIGNED,
  ).length;
}

function rejectedInARow({ tasks }: Slot, { specVersion }: SlotRules): number {
  let count = 0;
  const newestFirst = [...tasks]
    .filter(({ task }) => task.specVersion === specVersion)
    .sort((a, b) => b.createRevision - a.createRevision);
  for (const { state } of newestFirst) {
    if (state !== TaskState.TASK_STATE_REJECTED) break;
    count += 1;
  }
  return count;
}

/** A new task for a slot. */
export function create(slot: Slot, { specVersion, replaces }: SlotRules, earlierFailedRuns: number): Action {
  return {
    kind: 'create-task',
    serviceId: slot.serviceId,
    specVersion,
    slot: slot.number,
    nodeId: slot.nodeId,
    earlierFailedRuns,
    ...(replaces === undefined ? {} : { replaces }),
  };
}
