import type { RestartPolicy } from '@berth/contracts/workload';
import { RestartCondition } from '@berth/contracts/workload';

/** Longest wait before a restart, in milliseconds. */
export const restartDelayMaxMs = 60_000;

/** Shortest wait before a restart, in milliseconds: whatever ends at once must not be all that a host does. */
export const restartDelayMinMs = 100;

/** The policy with its defaults filled in: any end, after 5 s, without limit; never sooner than `restartDelayMinMs`. */
export function restartPolicyOf(policy: RestartPolicy | undefined): RestartPolicy {
  return {
    condition: policy?.condition || RestartCondition.RESTART_CONDITION_ANY,
    delayMs: Math.max(restartDelayMinMs, policy === undefined ? 5000 : policy.delayMs),
    maxAttempts: policy?.maxAttempts ?? 0,
    windowMs: policy?.windowMs ?? 0,
  };
}

/** How a run ended: with exit code 0, or with another one or unhealthy. */
export type RunEnd = 'success' | 'failure';

/** Is another run due after one that ended so? `failedRuns` counts the slot's at this spec version, this one included. */
export function restarts(policy: RestartPolicy | undefined, end: RunEnd, failedRuns: number): boolean {
  const { condition, maxAttempts } = restartPolicyOf(policy);
  switch (condition) {
    case RestartCondition.RESTART_CONDITION_NONE:
      return false;
    case RestartCondition.RESTART_CONDITION_ON_FAILURE:
      return end === 'failure' && !usedUp(maxAttempts, failedRuns);
    default:
      return end === 'success' || !usedUp(maxAttempts, failedRuns);
  }
}

function usedUp(maxAttempts: number, failedRuns: number): boolean {
  return maxAttempts > 0 && failedRuns >= maxAttempts;
}

/** Milliseconds to wait before the next run: the policy's delay, doubled for each failure in a row after the first. */
export function restartDelay(policy: RestartPolicy | undefined, failuresInARow: number): number {
  return backoff(restartPolicyOf(policy).delayMs, failuresInARow, restartDelayMaxMs);
}

/** `base`, doubled for each attempt after the first, at most `max`. */
export function backoff(base: number, attempts: number, max: number): number {
  return Math.min(max, base * 2 ** Math.min(30, Math.max(0, attempts - 1)));
}
