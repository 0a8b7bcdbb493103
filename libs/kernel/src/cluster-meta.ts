import { BerthError, isBerthError } from './errors.ts';
import { metaKeys } from './meta.ts';
import type { Clock } from './ports/clock.ts';
import type { Logger } from './ports/logger.ts';
import type { Store } from './ports/store.ts';

const retryMs = 500;

/**
 * Waits until the store answers and bootstrap has been there; returns the cluster's id. What a service does first: it
 * starts at the same time as etcd and bootstrap. Throws Cancelled when the signal aborts.
 */
export async function awaitCluster(store: Store, clock: Clock, log: Logger, signal: AbortSignal): Promise<string> {
  let told = false;
  while (!signal.aborted) {
    try {
      // The epoch is written last.
      await store.epoch();
      const { entry } = await store.get(metaKeys.clusterId);
      if (entry) return new TextDecoder().decode(entry.value);
      throw new BerthError('FailedPrecondition', `the store has no ${metaKeys.clusterId}`, {
        reason: 'NOT_BOOTSTRAPPED',
      });
    } catch (error) {
      // Before bootstrap has made the users, etcd knows nobody.
      const early =
        isBerthError(error, 'Unavailable') ||
        isBerthError(error, 'PermissionDenied') ||
        isBerthError(error, 'Unauthenticated') ||
        isBerthError(error, 'FailedPrecondition', 'NOT_BOOTSTRAPPED');
      if (!early) throw error;
      if (!told) log.info({ reason: error.reason, message: error.message }, 'waits for the store and bootstrap');
      told = true;
      await clock.sleep(retryMs, signal);
    }
  }
  throw new BerthError('Cancelled', 'asked to stop before the cluster was there', { reason: 'STOPPED' });
}
