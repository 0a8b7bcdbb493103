import type { Clock, Rng } from '@berth/kernel';
import { backoff } from '@berth/workload';

const baseMs = 200;
const maxMs = 3_000;

/** Pauses between tries: doubled up to 3 s, with jitter. */
export class RetryPause {
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #maxMs: number;
  #attempts = 0;

  /** `maxMs`: longest pause; default 3,000. */
  constructor(options: { readonly clock: Clock; readonly rng: Rng; readonly maxMs?: number }) {
    this.#clock = options.clock;
    this.#rng = options.rng;
    this.#maxMs = options.maxMs ?? maxMs;
  }

  /** Is this the first failure in a row? It is the one to log. */
  get first(): boolean {
    return this.#attempts === 0;
  }

  succeeded(): void {
    this.#attempts = 0;
  }

  async pause(signal: AbortSignal): Promise<void> {
    this.#attempts += 1;
    const ms = backoff(baseMs, this.#attempts, this.#maxMs) * (0.5 + this.#rng.next() / 2);
    await this.#clock.sleep(ms, signal);
  }
}
