import type { TaskStatus } from '@berth/contracts/workload';
import { TaskState } from '@berth/contracts/workload';
import type { ContainerState } from '@berth/kernel';
import { compareStatus } from '@berth/workload';
import { taskOf } from './labels.ts';
import type { NetworkJoin } from './task-network.ts';

/** How a task ended for good. */
export type FinalState = 'complete' | 'failed' | 'rejected';

/** What the agent must remember of a task beyond what its assignment and its containers say. Kept on disk; what the
 *  scheduler accepted and the containers' labels make good for a lost one. */
export interface TaskRecord {
  /** Run that is due, under way or over; 0 before the first. */
  readonly run: number;
  /** Reports of that run so far. */
  readonly seq: number;
  /** State in the last report, and the run it spoke of: within a run states only grow. */
  readonly toldState: TaskState;
  readonly toldRun: number;
  /** Highest run whose container was seen. */
  readonly seenRun: number;
  /** Its places on networks: they are its own also while it has no container. */
  readonly joins?: readonly NetworkJoin[];
  /** Highest run whose end was judged. */
  readonly judgedRun: number;
  /** Run that was stopped because it was unhealthy: it failed, whatever its exit code. */
  readonly condemnedRun: number;
  readonly failedRuns: number;
  readonly failuresInRow: number;
  readonly final?: FinalState;
  /** Why it ended, or what happened to the last run. */
  readonly message: string;
  /** Of the last ended run. */
  readonly exitCode: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
}

const fresh: TaskRecord = {
  run: 0,
  seq: 0,
  toldState: TaskState.TASK_STATE_UNSPECIFIED,
  toldRun: 0,
  seenRun: 0,
  judgedRun: 0,
  condemnedRun: 0,
  failedRuns: 0,
  failuresInRow: 0,
  message: '',
  exitCode: 0,
  startedAtMs: 0,
  finishedAtMs: 0,
};

const finals: ReadonlyMap<TaskState, FinalState> = new Map([
  [TaskState.TASK_STATE_COMPLETE, 'complete'],
  [TaskState.TASK_STATE_FAILED, 'failed'],
  [TaskState.TASK_STATE_REJECTED, 'rejected'],
]);

/** Containers of one task, latest run last. */
export function byRun(
  containers: readonly ContainerState[],
): { readonly run: number; readonly state: ContainerState }[] {
  return containers
    .map((state) => ({ run: taskOf(state)?.run ?? 0, state }))
    .filter(({ run }) => run > 0)
    .sort((a, b) => a.run - b.run);
}

/** Record of a task of which only the last accepted status and the containers are known: a new one, or one whose record
 *  was lost. */
export function recordFrom(last: TaskStatus | undefined, containers: readonly ContainerState[]): TaskRecord {
  return withContainers(last ? accepted(fresh, last) : fresh, containers);
}

/** Never behind what the scheduler has accepted: an agent whose record is older counts on from there. */
export function caughtUp(record: TaskRecord, last: TaskStatus | undefined): TaskRecord {
  return last && compareStatus(last, record) > 0 ? accepted(record, last) : record;
}

/** A record goes on from a status that is newer. */
function accepted(record: TaskRecord, last: TaskStatus): TaskRecord {
  return {
    ...record,
    run: last.run,
    seq: last.seq,
    toldRun: last.run,
    toldState: last.state,
    // A run that had its container is over when that is gone: its number is used.
    seenRun: hadContainer(last) ? last.run : record.seenRun,
    // The run may still be due, under way or over: that is judged from its container. Earlier ones are history.
    judgedRun: Math.max(record.judgedRun, last.run - 1),
    failedRuns: Math.max(record.failedRuns, last.failedRuns),
    final: finals.get(last.state),
    message: last.message,
    exitCode: last.exitCode,
    startedAtMs: last.startedAtMs,
    finishedAtMs: last.finishedAtMs,
  };
}

/** A container that vanishes while it is being stopped leaves a status that is still `running` and names none. */
function hadContainer(status: TaskStatus): boolean {
  return status.containerId !== '' || status.state === TaskState.TASK_STATE_RUNNING;
}

/** Is the record's current run over? Before its container was seen it is not. */
export function hasEnded(record: TaskRecord, containers: readonly ContainerState[]): boolean {
  if (record.run === 0 || record.judgedRun >= record.run) return false;
  const current = byRun(containers).find(({ run }) => run === record.run)?.state;
  return current === undefined ? record.seenRun === record.run : current.phase.kind === 'exited';
}

/** Never behind the containers: their labels are written before a record gets to the disk. */
export function withContainers(record: TaskRecord, containers: readonly ContainerState[]): TaskRecord {
  const latest = byRun(containers).at(-1)?.run ?? 0;
  if (latest <= record.run) return record;
  return {
    ...record,
    run: latest,
    seq: 0,
    seenRun: latest,
    judgedRun: Math.max(record.judgedRun, latest - 1),
    final: undefined,
  };
}
