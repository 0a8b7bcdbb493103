import type { RestartPolicy } from '@berth/contracts/workload';
import { restartDelay, restartPolicyOf, restarts } from '@berth/workload';

/** A policy without a window: a run must last at least this long to end a row of failures. */
export const healthyWindowMsMin = 10_000;

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
  /** Failures without a healthy run between them, before this one. */
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
  if (!run.failed) return { kind: 'restart', delayMs, failuresInRow: 0 };
  const window = windowMs > 0 ? windowMs : Math.max(delayMs, healthyWindowMsMin);
  const failuresInRow = run.lastedMs >= window ? 1 : history.failuresInRow + 1;
  return { kind: 'restart', delayMs: restartDelay(policy, failuresInRow), failuresInRow };
}
