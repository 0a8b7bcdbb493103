import type { Member } from '@berth/contracts/registry';
import type { Clock } from '@berth/kernel';
import type { PresenceTiming } from '../domain/timing.ts';

/** The list is made and sent at most this often. */
const pushIntervalMs = 1_000;
/** Changes that come together make one list. */
const coalesceMs = 50;

/**
 * Who is told what. `manager`: all members and who was revoked, for it keeps NATS's users. `other`: instances of services
 * alone; told of every node, a cluster of a thousand would hear a million times who joined.
 */
export type Audience = 'manager' | 'other';

export interface MemberNews {
  readonly members: Member[];
  readonly timing: PresenceTiming;
  /** Identities that were revoked; empty for `other`. */
  readonly revoked: readonly string[];
  /** Digest of the CAs to trust. */
  readonly caSha256: string;
}

interface Edition {
  readonly news: MemberNews;
  readonly text: string;
}

/** The member list as streams are told of it: made once for all of them, and only when it has changed. */
export class MemberBoard {
  readonly #clock: Clock;
  readonly #read: (audience: Audience) => MemberNews;
  readonly #waiting = new Set<() => void>();
  readonly #editions: Record<Audience, Edition>;
  #madeAtMs = Number.NEGATIVE_INFINITY;
  #pending = false;

  constructor(options: { readonly clock: Clock; readonly read: (audience: Audience) => MemberNews }) {
    this.#clock = options.clock;
    this.#read = options.read;
    this.#editions = { manager: this.#edition('manager'), other: this.#edition('other') };
  }

  /** Something that the list is made of may have changed. */
  touch(): void {
    if (this.#pending) return;
    this.#pending = true;
    const dueMs = this.#madeAtMs + pushIntervalMs - this.#clock.monotonic();
    this.#clock.timer(Math.max(coalesceMs, dueMs), () => this.#make());
  }

  /** The list at once, then whenever it has changed, until the signal aborts. */
  async *follow(audience: Audience, signal: AbortSignal): AsyncGenerator<MemberNews, void, undefined> {
    let told: Edition | undefined;
    while (!signal.aborted) {
      const edition = this.#editions[audience];
      if (told !== edition) {
        told = edition;
        yield edition.news;
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
    let changed = false;
    for (const audience of ['manager', 'other'] as const) {
      const edition = this.#edition(audience);
      if (edition.text === this.#editions[audience].text) continue;
      this.#editions[audience] = edition;
      changed = true;
    }
    if (changed) for (const wake of [...this.#waiting]) wake();
  }

  #edition(audience: Audience): Edition {
    const news = this.#read(audience);
    return { news, text: JSON.stringify(news) };
  }
}
