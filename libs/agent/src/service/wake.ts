import type { Clock } from '@berth/kernel';

/** Any number of `notify` before a `wait` are one: the loop behind it looks at everything anyway. */
export class Wake {
  readonly #clock: Clock;
  #set = false;
  #resolve: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  notify(): void {
    this.#set = true;
    this.#resolve?.();
  }

  /** Resolves at the next (or a pending) `notify`, after `ms`, or when the signal aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#set && !signal.aborted && ms > 0) {
      await new Promise<void>((resolve) => {
        const cancel = Number.isFinite(ms) ? this.#clock.timer(ms, done) : () => {};
        signal.addEventListener('abort', done, { once: true });
        this.#resolve = done;
        function done() {
          cancel();
          signal.removeEventListener('abort', done);
          resolve();
        }
      });
      this.#resolve = undefined;
    }
    this.#set = false;
  }
}
