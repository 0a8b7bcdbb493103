import type { Clock } from '@berth/kernel';

/** What lies between the two ends of a call. */
export interface Link {
  readonly clock: Clock;
  /** How long a message takes, now. */
  delayMs(): number;
  /** Resolves when messages get through: at once, or when a cut is healed. */
  open(): Promise<void>;
}

type Entry<T> =
  | { readonly kind: 'message'; readonly at: number; readonly message: T }
  | { readonly kind: 'end'; readonly at: number; readonly error?: unknown };

/** A sender waits when this many messages are under way, as flow control would have it. */
const windowSize = 16;

/** One direction of one call: in order, late by the link's delay, held up while the link is cut. */
export class RpcWire<T> {
  readonly #link: Link;
  readonly #entries: Entry<T>[] = [];
  #ended = false;
  #lost: { readonly error: unknown } | undefined;
  #changed: (() => void)[] = [];

  constructor(link: Link) {
    this.#link = link;
  }

  /** Resolves when the next message may be sent; false when nobody takes it any more. */
  async send(message: T): Promise<boolean> {
    if (this.#ended) return false;
    this.#entries.push({ kind: 'message', at: this.#arrival(), message });
    this.#wake();
    while (this.#entries.length >= windowSize && !this.#ended) await this.#change();
    return !this.#ended;
  }

  /** The last word, after all messages sent. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#entries.push({ kind: 'end', at: this.#arrival(), ...(error === undefined ? {} : { error }) });
    this.#wake();
  }

  /** The connection is gone: what is under way is lost, the reader learns it now. */
  lose(error: unknown): void {
    this.#ended = true;
    this.#lost ??= { error };
    this.#wake();
  }

  async *receive(): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const entry = this.#entries[0];
      if (this.#lost) throw this.#lost.error;
      if (entry === undefined) {
        await this.#change();
        continue;
      }
      await this.#arrived(entry.at);
      if (this.#lost) continue;
      this.#entries.shift();
      this.#wake();
      if (entry.kind === 'message') yield entry.message;
      else if ('error' in entry) throw entry.error;
      else return;
    }
  }

  async #arrived(at: number): Promise<void> {
    const over = new AbortController();
    const lost = (async () => {
      while (!this.#lost && !over.signal.aborted) await this.#change();
    })();
    const { clock } = this.#link;
    const wait = at - clock.monotonic();
    if (wait > 0) await Promise.race([clock.sleep(wait, over.signal), lost]);
    await Promise.race([this.#link.open(), lost]);
    over.abort();
    this.#wake();
  }

  #arrival(): number {
    const at = this.#link.clock.monotonic() + this.#link.delayMs();
    return Math.max(at, this.#entries.at(-1)?.at ?? at);
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }

  #wake(): void {
    const waiting = this.#changed;
    this.#changed = [];
    for (const resolve of waiting) resolve();
  }
}
