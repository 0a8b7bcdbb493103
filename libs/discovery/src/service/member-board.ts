import type { Member } from '@berth/contracts/registry';
import type { Clock } from '@berth/kernel';
import type { PresenceTiming } from '../domain/timing.ts';

/** The list is made and sent at most this often. */
const pushIntervalMs = 1_000;
/** Changes that come together make one list. */
const coalesceMs = 50;

export interface MemberNews {
  readonly members: Member[];
  readonly timing: PresenceTiming;
  /** Identities that were revoked. */
  readonly revoked: readonly string[];
}

/** The member list as streams are told of it: made once for all of them, and only when it has changed. */
export class MemberBoard {
  readonly #clock: Clock;
  readonly #read: () => MemberNews;
  readonly #waiting = new Set<() => void>();
  #news: MemberNews;
  #text: string;
  #madeAtMs = Number.NEGATIVE_INFINITY;
  #pending = false;

  constructor(options: { readonly clock: Clock; readonly read: () => MemberNews }) {
    this.#clock = options.clock;
    this.#read = options.read;
    this.#news = options.read();
    this.#text = JSON.stringify(this.#news);
  }

  /** Something that the list is made of may have changed. */
  touch(): void {
    if (this.#pending) return;
    this.#pending = true;
    const dueMs = this.#madeAtMs + pushIntervalMs - this.#clock.monotonic();
    this.#clock.timer(Math.max(coalesceMs, dueMs), () => this.#make());
  }

  /** The list at once, then whenever it has changed, until the signal aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<MemberNews, void, undefined> {
    let told: MemberNews | undefined;
    while (!signal.aborted) {
      if (told !== this.#news) {
        told = this.#news;
        yield told;
        continue;
      }
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.#waiting.delete(done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        this.#waiting.add(done);
        signal.addEventListener('abort', done);
      });
    }
  }

  #make(): void {
    this.#pending = false;
    this.#madeAtMs = this.#clock.monotonic();
    const news = this.#read();
    const text = JSON.stringify(news);
    if (text === this.#text) return;
    this.#news = news;
    this.#text = text;
    for (const wake of [...this.#waiting]) wake();
  }
}
