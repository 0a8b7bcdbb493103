/** Hands items of many writers to one reader, at the reader's pace: a writer waits while the channel is full. */
export class Channel<T> {
  readonly #itemsMax: number;
  readonly #items: T[] = [];
  #room: (() => void)[] = [];
  #wake: (() => void) | undefined;
  #end: { readonly error?: unknown } | undefined;

  constructor(itemsMax = 256) {
    this.#itemsMax = itemsMax;
  }

  /** Resolves when there is room for more, or when nobody reads any more: false. */
  async push(item: T): Promise<boolean> {
    while (this.#items.length >= this.#itemsMax && !this.#end) {
      await new Promise<void>((resolve) => this.#room.push(resolve));
    }
    if (this.#end) return false;
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  /** Nothing more follows; with an error, the reader gets it after what waits. */
  end(outcome: { readonly error?: unknown } = {}): void {
    this.#end ??= outcome;
    this.#wake?.();
    this.#letIn();
  }

  async *read(signal: AbortSignal): AsyncGenerator<T> {
    const wake = (): void => this.#wake?.();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) {
        const item = this.#items.shift();
        if (item !== undefined) {
          this.#letIn();
          yield item;
        } else if (this.#end) {
          if ('error' in this.#end) throw this.#end.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
        }
      }
    } finally {
      signal.removeEventListener('abort', wake);
      this.end();
    }
  }

  #letIn(): void {
    const waiting = this.#room;
    this.#room = [];
    for (const resolve of waiting) resolve();
  }
}
