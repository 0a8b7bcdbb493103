export interface AsyncQueueOptions {
  /** Most items that wait; the oldest go first when it is exceeded. Default: no bound. */
  readonly pendingMax?: number;
  /** Called with the number of items lost to `pendingMax`, once per item lost. */
  readonly onDrop?: () => void;
}

/** Hands items from a callback to one `for await` loop, in order. */
export class AsyncQueue<T> implements AsyncIterable<T> {
  readonly #options: AsyncQueueOptions;
  #items: T[] = [];
  /** Items before this index were taken already: shifting a long array costs too much. */
  #taken = 0;
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(options: AsyncQueueOptions = {}) {
    this.#options = options;
  }

  get size(): number {
    return this.#items.length - this.#taken;
  }

  push(item: T): void {
    if (this.#end) return;
    this.#items.push(item);
    if (this.#options.pendingMax !== undefined && this.size > this.#options.pendingMax) {
      this.#take();
      this.#options.onDrop?.();
    }
    this.#wake?.();
  }

  /** Ends the loop after the items that wait. */
  close(): void {
    this.#end ??= {};
    this.#wake?.();
  }

  /** Ends the loop, after the items that wait, with an error. */
  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      while (this.size > 0) yield this.#take();
      if (this.#end) {
        if ('error' in this.#end) throw this.#end.error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  #take(): T {
    const item = this.#items[this.#taken] as T;
    this.#taken += 1;
    if (this.#taken > 1_024 && this.#taken * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }
}
