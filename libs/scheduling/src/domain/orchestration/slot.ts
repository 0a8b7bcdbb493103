import { NodeStatus } from '@berth/contracts/registry';
import type { RestartPolicy } from '@berth/contracts/workload';
import { DesiredState, RestartCondition, TaskState } from '@berth/contracts/workload';
import { backoff, isEnded, isServing, restartDelay, restartPolicyOf, restarts } from '@berth/workload';
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
  readonly actions: readonly Action[];
  readonly wakeAtMs?: number;
}

export interface SlotRules {
  readonly specVersion: number;
  readonly restart: RestartPolicy | undefined;
  readonly limits: Limits;
  readonly nodes: NodesView;
}

/** Decides about one slot that should have a task; who replaces tasks of an older spec version is the update. */
export function reconcileSlot(slot: Slot, rules: SlotRules, nowMs: number): SlotDecision {
  const orphans = orphaned(slot.tasks, rules.nodes);
  const { active, surplus } = chooseActive(slot.tasks);
  const actions: Action[] = [
    ...orphans.map(({ task }): Action => ({ kind: 'orphan-task', taskId: task.id })),
    ...surplus.filter((seen) => !orphans.includes(seen)).map(retire),
    ...tidy(slot.tasks, rules),
  ];
  if (active && orphans.includes(active)) {
    // The slot is free from the next round on, when the record says so.
    return { phase: 'waiting', actions };
  }
  const decision = active ? withActive(slot, active, rules, nowMs) : withoutActive(slot, rules, nowMs);
  return { ...decision, actions: [...actions, ...decision.actions] };
}

/** Takes a slot out of service: nothing of it stays. */
export function removeSlot(tasks: readonly SeenTask[], nodes: NodesView): Action[] {
  return tasks.flatMap((seen): Action[] => {
    if (deletable(seen, nodes)) return [{ kind: 'delete-task', taskId: seen.task.id }];
    if (seen.task.desired === DesiredState.DESIRED_STATE_REMOVE) return [];
    return [{ kind: 'set-desired', taskId: seen.task.id, desired: DesiredState.DESIRED_STATE_REMOVE }];
  });
}

/** Stops a task; one that no node was ever given simply goes. */
export function retire({ task }: SeenTask): Action {
  if (task.state === TaskState.TASK_STATE_PENDING) return { kind: 'delete-task', taskId: task.id };
  return { kind: 'set-desired', taskId: task.id, desired: DesiredState.DESIRED_STATE_SHUTDOWN };
}

/** At most one task of a slot is desired to run; should there be more, the newest spec and the farthest one stays. */
function chooseActive(tasks: readonly SeenTask[]): { active?: SeenTask; surplus: readonly SeenTask[] } {
  const wanted = tasks
    .filter(({ task }) => task.desired === DesiredState.DESIRED_STATE_RUNNING)
    .sort(
      (a, b) =>
        b.task.specVersion - a.task.specVersion ||
        Number(isEnded(a.state)) - Number(isEnded(b.state)) ||
        b.state - a.state ||
        a.createRevision - b.createRevision ||
        (a.task.id < b.task.id ? -1 : 1),
    );
  const [active, ...surplus] = wanted;
  return active ? { active, surplus } : { surplus };
}

function orphaned(tasks: readonly SeenTask[], nodes: NodesView): SeenTask[] {
  return tasks.filter(
    (seen) =>
      seen.task.state !== TaskState.TASK_STATE_PENDING &&
      !isEnded(seen.state) &&
      isLost(seen.task.nodeId, nodes) &&
      !deletable(seen, nodes),
  );
}

function isLost(nodeId: string, nodes: NodesView): boolean {
  const status = nodes.get(nodeId)?.status;
  return status === undefined || status === NodeStatus.NODE_STATUS_LOST || status === NodeStatus.NODE_STATUS_LEFT;
}

/** Nobody will ever say that its containers are gone: the node has left. */
export function isGone(nodeId: string, nodes: NodesView): boolean {
  const status = nodes.get(nodeId)?.status;
  return status === undefined || status === NodeStatus.NODE_STATUS_LEFT;
}

function deletable({ task, status }: SeenTask, nodes: NodesView): boolean {
  if (task.state === TaskState.TASK_STATE_PENDING) return true;
  if (task.desired !== DesiredState.DESIRED_STATE_REMOVE) return false;
  return status?.removed === true || isGone(task.nodeId, nodes);
}

/** Bounds the history: the oldest ended tasks are removed from their nodes, then from the store. */
function tidy(tasks: readonly SeenTask[], { limits, nodes }: SlotRules): Action[] {
  const past = tasks.filter(({ task }) => task.desired !== DesiredState.DESIRED_STATE_RUNNING);
  const kept = past
    .filter(({ task, state }) => task.desired === DesiredState.DESIRED_STATE_SHUTDOWN && isEnded(state))
    .sort((a, b) => b.createRevision - a.createRevision || (a.task.id < b.task.id ? -1 : 1));
  const surplus = new Set(kept.slice(limits.taskHistoryPerSlotMax));
  return past.flatMap((seen): Action[] => {
    if (deletable(seen, nodes)) return [{ kind: 'delete-task', taskId: seen.task.id }];
    if (!surplus.has(seen)) return [];
    return [{ kind: 'set-desired', taskId: seen.task.id, desired: DesiredState.DESIRED_STATE_REMOVE }];
  });
}

function withActive(slot: Slot, active: SeenTask, rules: SlotRules, nowMs: number): SlotDecision {
  const { task, state, status, sinceMs } = active;
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
      const deadline =
        sinceMs +
        backoff(rules.limits.acceptWithinMs, 1 + neverAccepted(slot, rules), 16 * rules.limits.acceptWithinMs);
      return nowMs < deadline
        ? hold('starting', deadline)
        : { phase: 'waiting', active, actions: [retire(active), create(slot, rules, failedRuns)] };
    }
    case TaskState.TASK_STATE_COMPLETE:
      if (phaseOf(active, rules) === 'done') return hold('done');
      return replaceAfter(restartPolicyOf(rules.restart).delayMs);
    case TaskState.TASK_STATE_FAILED:
      if (!restarts(rules.restart, 'failure', failedRuns)) return hold('failed');
      return replaceAfter(restartDelay(rules.restart, failedRuns));
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
  if (recent >= rules.limits.failedRunsMax && !isServing(active) && restarts(rules.restart, 'failure', failedRuns)) {
    return { phase: 'waiting', active, actions: [retire(active)] };
  }
  return hold(phaseOf(active, rules));
}

function withoutActive(slot: Slot, rules: SlotRules, nowMs: number): SlotDecision {
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
    if (!restarts(rules.restart, 'failure', failedRuns)) return { phase: 'failed', active: last, actions: [] };
    // A slot that moves on because of its failures waits as a restart in place would; one whose node was lost does not.
    const dueMs =
      recentFailures(last, rules.limits, nowMs) > 0 ? last.sinceMs + restartDelay(rules.restart, failedRuns) : nowMs;
    if (nowMs < dueMs) return { phase: 'waiting', actions: [], wakeAtMs: dueMs };
  }
  return { phase: 'vacant', actions: [create(slot, rules, failedRuns)] };
}

/** When a withdrawn task no longer holds up its slot: now, never (its end is awaited), or at a time. */
function freesSlotAtMs(seen: SeenTask, { limits, nodes }: SlotRules): number {
  const { task, state, sinceMs } = seen;
  if (isEnded(state) || task.state === TaskState.TASK_STATE_PENDING) return Number.NEGATIVE_INFINITY;
  if (isLost(task.nodeId, nodes)) return Number.NEGATIVE_INFINITY;
  // One whose agent never took it holds up its slot no longer than an agent may take.
  if (state === TaskState.TASK_STATE_ASSIGNED) return sinceMs + limits.acceptWithinMs;
  return Number.POSITIVE_INFINITY;
}

function phaseOf(seen: SeenTask, { restart }: Pick<SlotRules, 'restart'>): SlotPhase {
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

function create(slot: Slot, { specVersion }: SlotRules, earlierFailedRuns: number): Action {
  return {
    kind: 'create-task',
    serviceId: slot.serviceId,
    specVersion,
    slot: slot.number,
    nodeId: slot.nodeId,
    earlierFailedRuns,
  };
}
