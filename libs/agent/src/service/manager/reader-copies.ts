import type { Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { copyRoute, eventOwners, logOf, streamOf } from '@berth/workload';
import { RetryPause } from '../retry.ts';
import { Wake } from '../wake.ts';

/** The connection to NATS that makes the copies; implemented by `platform/events-nats`. */
export interface CopyBus {
  readonly connected: boolean;
  onConnection(listener: (connected: boolean) => void): () => void;
  log(name: string): {
    ensureCopy(source: { readonly stream: string; readonly api: string; readonly deliver: string }): Promise<void>;
  };
}

export interface ReaderCopiesOptions {
  readonly bus: CopyBus;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
}

/**
 * Sees to it that readers from outside find the events in their account: a copy of each owner's log, which NATS keeps up by
 * itself. Looked at with every connection, for NATS may have lost what it had.
 */
export async function keepReaderCopies(
  { bus, clock, rng, log }: ReaderCopiesOptions,
  signal: AbortSignal,
): Promise<void> {
  const wake = new Wake(clock);
  const end = bus.onConnection((connected) => {
    if (connected) wake.notify();
  });
  const retry = new RetryPause({ clock, rng });
  try {
    if (bus.connected) wake.notify();
    while (!signal.aborted) {
      await wake.wait(Number.POSITIVE_INFINITY, signal);
      if (signal.aborted) return;
      try {
        for (const { owner } of eventOwners) {
          await bus.log(streamOf(owner)).ensureCopy({ stream: logOf(owner), ...copyRoute });
        }
        retry.succeeded();
        log.info({}, 'readers of events have their copies');
      } catch (error) {
        if (!isBerthError(error)) throw error;
        if (retry.first) log.warn({ error: error.message }, 'copies of the event logs could not be made; trying again');
        await retry.pause(signal);
        wake.notify();
      }
    }
  } finally {
    end();
  }
}
