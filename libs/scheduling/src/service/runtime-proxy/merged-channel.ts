import type { Clock } from '@berth/kernel';

/** Where one writer puts its items. */
export interface Source<T> {
  /** Resolves when there is room for more: true; or when nobody reads any more: false. */
  push(item: T): Promise<boolean>;
  /** Nothing more comes from here. */
  end(): void;
}

interface Lane<T> {
  readonly items: T[];
  open: boolean;
  /** Since when it has been empty; monotonic. */
  quietSinceMs: number;
  room: (() => void) | undefined;
}

/**
 * Merges what many writers say, each in order, into one order. An item waits for an earlier one of a writer that is
 * silent, but no longer than `holdMs` after that writer's last: what comes late comes late. A writer waits while
 * `itemsMax` items of its own have not been read.
 */
export class MergedChannel<T> {
  readonly #clock: Clock;
  readonly #holdMs: number;
  readonly #itemsMax: number;
  readonly #orderOf: (item: T) => number;
  readonly #lanes = new Set<Lane<T>>();
  #wake: (() => void) | undefined;
  #end: { readonly error?: unknown } | undefined;

  constructor(options: {
    readonly clock: Clock;
    readonly orderOf: (item: T) => number;
    readonly holdMs: number;
    readonly itemsMax?: number;
  }) {
    this.#clock = options.clock;
    this.#orderOf = options.orderOf;
    this.#holdMs = options.holdMs;
    this.#itemsMax = options.itemsMax ?? 64;
  }

  open(): Source<T> {
    const lane: Lane<T> = { items: [], open: true, quietSinceMs: this.#clock.monotonic(), room: undefined };
    this.#lanes.add(lane);
    return {
      push: async (item) => {
        while (lane.items.length >= this.#itemsMax && !this.#end) {
          await new Promise<void>((resolve) => {
            lane.room = resolve;
          });
        }
        if (this.#end) return false;
        lane.items.push(item);
        this.#wake?.();
        return true;
      },
      end: () => {
        lane.open = false;
        this.#wake?.();
      },
    };
  }

  /** Nobody writes any more; with an error, the reader gets it after what waits. */
  end(outcome: { readonly error?: unknown } = {}): void {
    this.#end ??= outcome;
    this.#wake?.();
    for (const lane of this.#lanes) lane.room?.();
  }

  async *read(signal: AbortSignal): AsyncGenerator<T> {
    const wake = (): void => this.#wake?.();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) {
        const next = this.#next();
        if (next.lane) yield this.#take(next.lane);
        else if (this.#end && next.waitMs === Number.POSITIVE_INFINITY) {
          if ('error' in this.#end) throw this.#end.error;
          return;
        } else await this.#wait(next.waitMs);
      }
    } finally {
      signal.removeEventListener('abort', wake);
      this.end();
    }
  }

  /** The lane whose turn it is, or how long to wait for others before one may have it. */
  #next(): { readonly lane?: Lane<T>; readonly waitMs: number } {
    const now = this.#clock.monotonic();
    let first: Lane<T> | undefined;
    let waitMs = 0;
    for (const lane of this.#lanes) {
      const item = lane.items[0];
      if (item !== undefined) {
        if (first === undefined || this.#orderOf(item) < this.#orderOf(first.items[0] as T)) first = lane;
      } else if (!lane.open) this.#lanes.delete(lane);
      else if (!this.#end) waitMs = Math.max(waitMs, lane.quietSinceMs + this.#holdMs - now);
    }
    if (first === undefined) return { waitMs: Number.POSITIVE_INFINITY };
    return waitMs > 0 ? { waitMs } : { lane: first, waitMs: 0 };
  }

  #take(lane: Lane<T>): T {
    const item = lane.items.shift() as T;
    if (lane.items.length === 0) lane.quietSinceMs = this.#clock.monotonic();
    lane.room?.();
    lane.room = undefined;
    return item;
  }

  async #wait(ms: number): Promise<void> {
    let cancel = (): void => {};
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (Number.isFinite(ms)) cancel = this.#clock.timer(ms, resolve);
    });
    cancel();
    this.#wake = undefined;
  }
}
