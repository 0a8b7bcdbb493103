import type { RestartPolicy } from '@berth/contracts/workload';
import { backoff, restartDelay, restartPolicyOf, restarts } from '@berth/workload';

/** A policy without a window: a run must last at least this long to end a row of failures. */
export const healthyWindowMsMin = 10_000;
/** Short runs that end well wait longer each time, up to this, or the policy's own delay if that is longer. */
export const shortRunDelayMsMax = 5_000;

/** A run that ended by itself. */
export interface EndedRun {
  /** It exited with another code than 0, was unhealthy, vanished or could not be started. */
  readonly failed: boolean;
  readonly lastedMs: number;
}

/** What a slot has behind it at this spec version. */
export interface RunHistory {
  /** Failed runs in the slot's earlier tasks. */
  readonly earlierFailedRuns: number;
  /** Failed runs of this task, this one included. */
  readonly failedRuns: number;
  /** Runs that failed or were short, without a lasting one between them, before this one. */
  readonly failuresInRow: number;
}

export type RestartVerdict =
  | { readonly kind: 'restart'; readonly delayMs: number; readonly failuresInRow: number }
  | { readonly kind: 'complete' }
  | { readonly kind: 'failed'; readonly why: string };

/** What follows a run that ended by itself. */
export function afterRun(policy: RestartPolicy | undefined, run: EndedRun, history: RunHistory): RestartVerdict {
  const failures = history.earlierFailedRuns + history.failedRuns;
  const { delayMs, maxAttempts, windowMs } = restartPolicyOf(policy);
  if (!restarts(policy, run.failed ? 'failure' : 'success', failures)) {
    if (!run.failed) return { kind: 'complete' };
    const usedUp = maxAttempts > 0 && failures >= maxAttempts;
    const why = usedUp
      ? `${failures} failed runs, and its restart policy allows ${maxAttempts}`
      : 'not to be restarted';
    return { kind: 'failed', why };
  }
  const window = windowMs > 0 ? windowMs : Math.max(delayMs, healthyWindowMsMin);
  const failuresInRow = run.lastedMs >= window ? 1 : history.failuresInRow + 1;
  if (!run.failed) {
    return {
      kind: 'restart',
      delayMs: backoff(delayMs, failuresInRow, Math.max(delayMs, shortRunDelayMsMax)),
      failuresInRow,
    };
  }
  return { kind: 'restart', delayMs: restartDelay(policy, failuresInRow), failuresInRow };
}
