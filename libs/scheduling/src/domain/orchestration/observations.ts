import type { TaskState } from '@berth/contracts/workload';

interface Observation {
  state: TaskState;
  sinceMs: number;
  failedRuns: number;
  failuresMs: number[];
}

/** Failure times kept for each task. */
const failuresMax = 16;

/**
 * When this leader saw what: durations are counted from here, in the leader's own monotonic milliseconds. A new leader
 * starts all counts anew, which costs time, never truth.
 */
export class Observations {
  readonly #tasks = new Map<string, Observation>();

  /** Notes a task's state and number of failed runs. */
  note(taskId: string, state: TaskState, failedRuns: number, nowMs: number): void {
    const known = this.#tasks.get(taskId);
    if (!known) {
      this.#tasks.set(taskId, { state, sinceMs: nowMs, failedRuns, failuresMs: [] });
      return;
    }
    if (known.state !== state) {
      known.state = state;
      known.sinceMs = nowMs;
    }
    for (; known.failedRuns < failedRuns; known.failedRuns += 1) known.failuresMs.push(nowMs);
    if (known.failuresMs.length > failuresMax) known.failuresMs.splice(0, known.failuresMs.length - failuresMax);
  }

  forget(taskId: string): void {
    this.#tasks.delete(taskId);
  }

  /** Since when a task is in its state; `nowMs` for one not seen before. */
  sinceMs(taskId: string, nowMs: number): number {
    return this.#tasks.get(taskId)?.sinceMs ?? nowMs;
  }

  failuresMs(taskId: string): readonly number[] {
    return this.#tasks.get(taskId)?.failuresMs ?? [];
  }
}
