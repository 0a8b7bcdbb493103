import { randomBytes } from 'node:crypto';
import type { Clock, Rng } from '@berth/kernel';

/** The longest that node's timers can wait, 24.8 days; what is longer would fire at once, again and again. */
const timerMaxMs = 2 ** 31 - 1;

/** The machine's own clock. Timers and sleeps keep the process alive, as the loops that wait on them should. A wait of more
 *  than 24.8 days is over early: its loop looks again. */
export class SystemClock implements Clock {
  monotonic(): number {
    return performance.now();
  }

  wall(): number {
    return Date.now();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) {
        resolve();
        return;
      }
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, timerMaxMs));
      signal?.addEventListener('abort', done);
    });
  }

  timer(ms: number, fn: () => void): () => void {
    const timer = setTimeout(fn, Math.min(ms, timerMaxMs));
    return () => clearTimeout(timer);
  }
}

/** The system's secure source of randomness: also fit for tokens and ids. */
export class SystemRng implements Rng {
  next(): number {
    // 48 of the 53 bits that a double could hold.
    return randomBytes(6).readUIntBE(0, 6) / 2 ** 48;
  }

  bytes(count: number): Uint8Array {
    return randomBytes(count);
  }
}
