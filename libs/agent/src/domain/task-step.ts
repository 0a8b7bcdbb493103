import type { Assignment } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import type { ContainerState } from '@berth/kernel';
import { volumeName } from '@berth/workload';
import { joinsOf } from './labels.ts';
import { afterRun } from './restart.ts';
import { hasNetworks, taskOfAssignment } from './run-plan.ts';
import type { TaskRecord } from './task-record.ts';
import { byRun, hasEnded } from './task-record.ts';

/** First wait before a launch that could not be made is tried again; doubled up to `retryMsMax`. */
const retryMsMin = 250;
const retryMsMax = 5_000;
/** A static task that has failed again and again waits no longer than this: the whole cluster waits with it. */
const staticDelayMsMax = 5_000;

/** What the agent's shell is doing for a task right now: at most one thing at a time. */
export type TaskOperation =
  | {
      readonly kind: 'launch';
      readonly run: number;
      readonly phase: 'preparing' | 'starting';
      readonly aborted: boolean;
    }
  | { readonly kind: 'stop' | 'remove' | 'release' };

/** What is forgotten when the agent ends. */
export interface TaskMemo {
  readonly operation?: TaskOperation;
  /** Monotonic time before which the next run is not due. */
  readonly dueAt: number;
  /** Monotonic time before which nothing is tried again, and how often it has failed in a row. */
  readonly retryAt: number;
  readonly retries: number;
  /** What the next launch waits for. */
  readonly waiting: string;
  /** Monotonic time at which the drain is over. */
  readonly drainedAt?: number;
  /** No container, network or volume of the stopped task is left. */
  readonly released: boolean;
}

export const emptyMemo: TaskMemo = { dueAt: 0, retryAt: 0, retries: 0, waiting: '', released: false };

/** How a launch ended, if it did not come to a container. */
export type LaunchFailure =
  | { readonly kind: 'retry'; readonly message: string }
  | { readonly kind: 'rejected'; readonly message: string }
  | { readonly kind: 'aborted' };

export type TaskAction =
  | { readonly kind: 'launch'; readonly run: number; readonly replaces: readonly string[] }
  /** Ends a launch that is under way. */
  | { readonly kind: 'abort' }
  | { readonly kind: 'stop'; readonly containerId: string }
  | { readonly kind: 'remove'; readonly containerIds: readonly string[] }
  /** Hands back networks and, if told so, volumes. */
  | { readonly kind: 'release'; readonly volumes: readonly string[] }
  /** Nothing of a task that is no longer ours is left. */
  | { readonly kind: 'forget' };

export interface TaskInput {
  /** Absent: the task is not ours (any more). */
  readonly assignment: Assignment | undefined;
  readonly record: TaskRecord;
  readonly memo: TaskMemo;
  readonly containers: readonly ContainerState[];
  /** Monotonic. */
  readonly now: number;
  /** Why nothing may be launched now; empty if it may. */
  readonly hold: string;
  /** The current run ended while nobody watched: with the engine, the agent or the host, for all that is known. */
  readonly unseenEnd?: boolean;
}

export interface TaskStep {
  readonly record: TaskRecord;
  readonly memo: TaskMemo;
  readonly action?: TaskAction;
  /** Monotonic time at which to decide again. */
  readonly wakeAt?: number;
}

/** One round for one task: what is, what is wanted, so what is next. The same input gives the same step. */
export function stepTask(input: TaskInput): TaskStep {
  const wanted = input.assignment?.task?.desired === DesiredState.DESIRED_STATE_RUNNING;
  return wanted ? stepTowardsRunning(judge(input), input.assignment) : stepTowardsGone(input);
}

/** Looks at how the current run ended, if it did; each run once. */
function judge(input: TaskInput): TaskInput {
  const { record, memo, assignment } = input;
  const current = containerOfRun(input, record.run);
  const isNew = current !== undefined && record.seenRun < record.run;
  const seen = isNew ? { ...record, seenRun: record.run, joins: joinsOf(current) } : record;
  const busy = memo.operation !== undefined;
  if (busy || record.final || !hasEnded(seen, input.containers)) return { ...input, record: seen };

  const condemned = record.condemnedRun === record.run;
  const phase = current?.phase;
  const exit = phase?.kind === 'exited' ? phase : undefined;
  const failed = condemned || exit === undefined || exit.exitCode !== 0 || exit.error !== '';
  // Nobody knows that it was the run's own fault: it is not held against the policy (ADR 0150).
  const excused = input.unseenEnd === true && !condemned && (exit?.error ?? '') === '';
  const failedRuns = record.failedRuns + (failed && !excused ? 1 : 0);
  const lastedMs = exit && exit.startedAtMs > 0 ? Math.max(0, exit.finishedAtMs - exit.startedAtMs) : 0;
  const verdict = afterRun(
    assignment?.spec?.restart,
    { failed, lastedMs },
    {
      earlierFailedRuns: assignment?.task?.earlierFailedRuns ?? 0,
      failedRuns,
      failuresInRow: excused ? 0 : record.failuresInRow,
    },
  );
  const why = condemned ? `run ${record.run} was unhealthy: ${record.message}` : endText(record.run, exit);
  const ended: TaskRecord = {
    ...seen,
    judgedRun: record.run,
    failedRuns,
    exitCode: exit?.exitCode ?? -1,
    startedAtMs: exit?.startedAtMs ?? 0,
    finishedAtMs: exit?.finishedAtMs ?? 0,
    message: why,
  };
  if (verdict.kind === 'complete') return { ...input, record: { ...ended, final: 'complete', message: '' } };
  if (verdict.kind === 'failed') {
    return { ...input, record: { ...ended, final: 'failed', message: `${why}; ${verdict.why}` } };
  }
  const delayMs = Math.min(verdict.delayMs, assignment?.task?.static ? staticDelayMsMax : Number.POSITIVE_INFINITY);
  return {
    ...input,
    // The next run's reports begin: it is due.
    record: { ...ended, run: record.run + 1, seq: 0, failuresInRow: verdict.failuresInRow },
    memo: { ...memo, dueAt: input.now + delayMs, waiting: '' },
  };
}

function endText(run: number, exit: { readonly error: string; readonly exitCode: number } | undefined): string {
  if (exit === undefined) return `container of run ${run} vanished`;
  return exit.error !== '' ? `run ${run}: ${exit.error}` : `run ${run} exited with code ${exit.exitCode}`;
}

function stepTowardsRunning(input: TaskInput, assignment: Assignment | undefined): TaskStep {
  const { now, hold } = input;
  let { record, memo } = input;
  memo = { ...memo, drainedAt: undefined, released: false };
  if (memo.operation !== undefined || record.final !== undefined || assignment === undefined) return { record, memo };

  if (now < memo.retryAt) return { record, memo, wakeAt: memo.retryAt };
  const stray = byRun(input.containers).find(({ run, state }) => run < record.run && state.phase.kind === 'running');
  if (stray) return stopping(record, memo, stray.state);

  const current = containerOfRun(input, record.run);
  if (current?.phase.kind === 'running') {
    if (current.health !== 'unhealthy' && record.condemnedRun !== record.run) return { record, memo };
    if (record.condemnedRun !== record.run) {
      record = { ...record, condemnedRun: record.run, message: current.healthOutput || 'its health check failed' };
    }
    return stopping(record, memo, current);
  }
  if (current?.phase.kind === 'exited') return { record, memo };

  if (now < memo.dueAt) return { record, memo, wakeAt: memo.dueAt };
  if (hold !== '') return { record, memo: { ...memo, waiting: hold } };
  const run = Math.max(1, record.run);
  const replaces = byRun(input.containers)
    .filter((c) => c.run < run)
    .map((c) => c.state.id);
  return {
    record: run === record.run ? record : { ...record, run, seq: 0 },
    memo: { ...memo, waiting: '', operation: { kind: 'launch', run, phase: 'preparing', aborted: false } },
    action: { kind: 'launch', run, replaces },
  };
}

function stepTowardsGone(input: TaskInput): TaskStep {
  const { assignment, record, now } = input;
  let { memo } = input;
  if (memo.operation?.kind === 'launch' && !memo.operation.aborted) {
    return { record, memo: { ...memo, operation: { ...memo.operation, aborted: true } }, action: { kind: 'abort' } };
  }
  if (memo.operation !== undefined) return { record, memo };
  if (now < memo.retryAt) return { record, memo, wakeAt: memo.retryAt };

  const running = byRun(input.containers).findLast(({ state }) => state.phase.kind === 'running');
  if (running) {
    // The endpoint is withdrawn by now (`endpointsOf`); its callers get the time to hear of it.
    const drain = assignment !== undefined && hasNetworks(assignment) ? assignment.drainDelayMs : 0;
    const drainedAt = memo.drainedAt ?? now + drain;
    memo = { ...memo, drainedAt };
    if (now < drainedAt) return { record, memo, wakeAt: drainedAt };
    return stopping(record, memo, running.state);
  }
  if (input.containers.length > 0) {
    return {
      record: withEnd(record, containerOfRun(input, record.run)),
      memo: { ...memo, operation: { kind: 'remove' } },
      action: { kind: 'remove', containerIds: input.containers.map((c) => c.id) },
    };
  }
  if (!memo.released) {
    const remove = assignment?.task?.desired === DesiredState.DESIRED_STATE_REMOVE;
    const volumes = remove ? assignment.removeVolumes.map((v) => volumeName(taskOfAssignment(assignment), v)) : [];
    return { record, memo: { ...memo, operation: { kind: 'release' } }, action: { kind: 'release', volumes } };
  }
  return assignment === undefined ? { record, memo, action: { kind: 'forget' } } : { record, memo };
}

/** The shell reports how a launch ended that came to no container. */
export function afterLaunchFailure(
  record: TaskRecord,
  memo: TaskMemo,
  failure: LaunchFailure,
  now: number,
): Pick<TaskStep, 'record' | 'memo'> {
  const idle = { ...memo, operation: undefined };
  switch (failure.kind) {
    case 'rejected':
      return { record: { ...record, final: 'rejected', message: failure.message }, memo: idle };
    case 'retry':
      return { record, memo: { ...afterFailure(memo, now), waiting: failure.message } };
    case 'aborted':
      return { record, memo: idle };
  }
}

/** A stop, removal or release failed: the engine is away, most likely. Try again in a while. */
export function afterFailure(memo: TaskMemo, now: number): TaskMemo {
  const delay = Math.min(retryMsMin * 2 ** memo.retries, retryMsMax);
  return { ...memo, operation: undefined, retries: memo.retries + 1, retryAt: now + delay };
}

export function afterSuccess(memo: TaskMemo): TaskMemo {
  const released = memo.operation?.kind === 'release' ? true : memo.released;
  return { ...memo, operation: undefined, retries: 0, retryAt: 0, waiting: '', released };
}

function containerOfRun(input: TaskInput, run: number): ContainerState | undefined {
  return byRun(input.containers).find((c) => c.run === run)?.state;
}

function stopping(record: TaskRecord, memo: TaskMemo, container: ContainerState): TaskStep {
  return {
    record,
    memo: { ...memo, operation: { kind: 'stop' } },
    action: { kind: 'stop', containerId: container.id },
  };
}

/** A container about to be removed: how it ended is kept. */
function withEnd(record: TaskRecord, container: ContainerState | undefined): TaskRecord {
  if (container?.phase.kind !== 'exited') return record;
  const { exitCode, startedAtMs, finishedAtMs } = container.phase;
  return { ...record, exitCode, startedAtMs, finishedAtMs };
}
