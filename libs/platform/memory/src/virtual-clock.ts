import type { Clock } from '@berth/kernel';

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly fn: () => void;
}

/** Time that passes only when told to. Timers fire in the order of their time, then of their making. */
export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  #wallStart: number;
  /** Sorted: the next one last. */
  readonly #timers: Timer[] = [];

  /** `wallStart`: what `wall()` says at the start, milliseconds since 1970; default 2026-01-01. */
  constructor(options: { readonly wallStart?: number } = {}) {
    this.#wallStart = options.wallStart ?? 1_767_225_600_000;
  }

  monotonic(): number {
    return this.#now;
  }

  wall(): number {
    return this.#wallStart + this.#now;
  }

  /** Sets the wall clock alone, as an administrator or NTP may. */
  setWall(ms: number): void {
    this.#wallStart = ms - this.#now;
  }

  timer(ms: number, fn: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, ms), order: this.#order++, fn };
    this.#timers.splice(this.#placeOf(timer), 0, timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.timer(ms, done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Lets `ms` pass: fires each timer that falls due, and lets all promises settle before the next one and at the end. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (let next = this.#timers.at(-1); next !== undefined && next.at <= until; next = this.#timers.at(-1)) {
      this.#timers.pop();
      this.#now = Math.max(this.#now, next.at);
      next.fn();
      await settle();
    }
    this.#now = until;
  }

  /** Lets time pass in steps until the condition holds; throws when it still does not after `withinMs`. */
  async advanceUntil(condition: () => boolean, withinMs = 60_000, stepMs = 50): Promise<void> {
    const until = this.#now + withinMs;
    await settle();
    while (!condition()) {
      if (this.#now >= until) throw new Error(`still not so after ${withinMs} ms of virtual time: ${condition}`);
      await this.advance(stepMs);
    }
  }

  #placeOf(timer: Timer): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#timers[middle] as Timer;
      if (other.at > timer.at || (other.at === timer.at && other.order > timer.order)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Resolves when every promise that could settle without time passing has done so. */
export function settle(): Promise<void> {
  // Microtasks all run before the next turn of the event loop.
  return new Promise((resolve) => setImmediate(resolve));
}
