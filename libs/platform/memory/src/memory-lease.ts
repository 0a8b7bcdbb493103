import type { Clock, StoreLease } from '@berth/kernel';
import { BerthError } from '@berth/kernel';

export interface MemoryLease extends StoreLease {
  /** The store's end of it: the lease is over, its holder hears of it. */
  end(): void;
}

interface LeaseOptions {
  readonly id: string;
  readonly ttlMs: number;
  readonly clock: Clock;
  reachable(): boolean;
  onEnd(): void;
}

/** A lease that is kept alive every third of its time to live, as long as the store can be reached. */
export function createLease(options: LeaseOptions): MemoryLease {
  const { clock, ttlMs } = options;
  const lost = new AbortController();
  let cancelKeepAlive = (): void => undefined;
  let cancelExpiry = (): void => undefined;

  const end = (): void => {
    if (lost.signal.aborted) return;
    cancelKeepAlive();
    cancelExpiry();
    options.onEnd();
    lost.abort(new BerthError('FailedPrecondition', `lease ${options.id} is over`, { reason: 'LEASE_LOST' }));
  };
  const renew = (): void => {
    cancelExpiry();
    cancelExpiry = clock.timer(ttlMs, end);
  };
  const keepAlive = (): void => {
    if (options.reachable()) renew();
    cancelKeepAlive = clock.timer(ttlMs / 3, keepAlive);
  };
  renew();
  cancelKeepAlive = clock.timer(ttlMs / 3, keepAlive);

  return {
    id: options.id,
    lost: lost.signal,
    end,
    revoke: async () => {
      if (!options.reachable()) {
        throw new BerthError('Unavailable', 'the store does not answer', { reason: 'OUTCOME_UNKNOWN' });
      }
      end();
    },
  };
}
