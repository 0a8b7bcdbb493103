import type { Assignment } from '@berth/contracts/scheduler';
import { TaskState } from '@berth/contracts/workload';
import type { ContainerState } from '@berth/kernel';
import { taskOf } from './labels.ts';

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

/** Containers of one task, latest run last. */
export function byRun(
  containers: readonly ContainerState[],
): { readonly run: number; readonly state: ContainerState }[] {
  return containers
    .map((state) => ({ run: taskOf(state)?.run ?? 0, state }))
    .filter(({ run }) => run > 0)
    .sort((a, b) => a.run - b.run);
}

/** Record of a task of which only assignment and containers are known: a new one, or one whose record was lost. */
export function recordFrom(
  assignment: Pick<Assignment, 'lastRun' | 'lastSeq' | 'failedRuns'> | undefined,
  containers: readonly ContainerState[],
): TaskRecord {
  const lastRun = assignment?.lastRun ?? 0;
  const seenRun = byRun(containers).at(-1)?.run ?? 0;
  const run = Math.max(lastRun, seenRun);
  return {
    ...fresh,
    run,
    seq: run === lastRun ? (assignment?.lastSeq ?? 0) : 0,
    seenRun,
    // The latest run may still be due, under way or over: that is judged from its container. Earlier ones are history.
    judgedRun: Math.max(0, run - 1),
    failedRuns: assignment?.failedRuns ?? 0,
  };
}

/** Never behind what the scheduler has accepted: an agent whose record is older counts on from there. */
export function caughtUp(
  record: TaskRecord,
  assignment: Pick<Assignment, 'lastRun' | 'lastSeq' | 'failedRuns'>,
): TaskRecord {
  if (assignment.lastRun > record.run) {
    return {
      ...record,
      run: assignment.lastRun,
      seq: assignment.lastSeq,
      judgedRun: Math.max(record.judgedRun, assignment.lastRun - 1),
      failedRuns: Math.max(record.failedRuns, assignment.failedRuns),
    };
  }
  if (assignment.lastRun === record.run && assignment.lastSeq > record.seq) {
    return { ...record, seq: assignment.lastSeq };
  }
  return record;
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
