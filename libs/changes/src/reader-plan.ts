import type { Revision } from '@berth/kernel';
import type { ChangeLike, FeedStep, ScopeAnswer, ScopeHeadLike } from './change.ts';
import type { ScopeHead } from './cloud-event.ts';
import type { DecodedEvent } from './scope-state.ts';
import { ScopeState } from './scope-state.ts';

/** Times of the reader, in milliseconds. */
const readerTimes = {
  /** Without a beacon for so long, the publisher or NATS is taken to be away. */
  silenceMs: 3_000,
  /** Then all scopes are read after 0 to this. */
  firstPollMs: 5_000,
  /** And every so often, ± 20 %. */
  pollMs: 10_000,
  /** All heads are compared every so often, ± 20 %. */
  compareMs: 60_000,
  /** After a read that failed or did not help, doubled each time up to the second value. */
  retryMs: 100,
  retryMaxMs: 5_000,
} as const;

/** Reads at the same time. */
const readsMax = 8;

interface Tracked<C extends ChangeLike> {
  readonly state: ScopeState<C>;
  reading: boolean;
  /** Reads since the scope was last up to date. */
  tries: number;
  notBeforeMs: number;
}

export interface Read {
  readonly scope: string;
  readonly since: Revision | undefined;
}

export interface Due {
  readonly reads: readonly Read[];
  /** Heads to compare, if it is time to. */
  readonly compare:
    | { readonly heads: readonly { scope: string; revision: Revision }[]; readonly since: Revision }
    | undefined;
  /** When to ask again, if nothing happens before. */
  readonly nextMs: number;
}

/** When to read which scope. Pure: time and randomness (0 to 1) are handed in. */
export class ReaderPlan<C extends ChangeLike> {
  readonly #scopes = new Map<string, Tracked<C>>();
  #beaconMs: number;
  #pollMs: number | undefined;
  #compareMs: number | undefined;
  #comparing = false;

  constructor(nowMs: number) {
    this.#beaconMs = nowMs;
  }

  add(scope: string, since: Revision | undefined, nowMs: number): void {
    if (this.#scopes.has(scope)) return;
    this.#scopes.set(scope, { state: new ScopeState<C>(since), reading: false, tries: 0, notBeforeMs: nowMs });
  }

  remove(scope: string): void {
    this.#scopes.delete(scope);
  }

  /** What has been applied of a scope; undefined before its first read. */
  asOf(scope: string): Revision | undefined {
    return this.#scopes.get(scope)?.state.asOf;
  }

  /** No beacon for a while: scopes are read by the clock. */
  silent(nowMs: number): boolean {
    return nowMs - this.#beaconMs >= readerTimes.silenceMs;
  }

  onEvent(event: DecodedEvent<C>): readonly FeedStep<C>[] {
    return this.#scopes.get(event.scope)?.state.onEvent(event) ?? [];
  }

  onHead(head: ScopeHead): void {
    this.#scopes.get(head.scope)?.state.onHead(head);
  }

  onBeacon(nowMs: number): void {
    // Who was away may have missed the heads, too.
    if (this.silent(nowMs)) this.#compareMs = nowMs;
    this.#beaconMs = nowMs;
    this.#pollMs = undefined;
  }

  onAnswer(scope: string, answer: ScopeAnswer<C>, nowMs: number): readonly FeedStep<C>[] {
    const tracked = this.#scopes.get(scope);
    if (!tracked) return [];
    const steps = tracked.state.onAnswer(answer);
    this.#readEnded(tracked, nowMs);
    return steps;
  }

  onReadFailed(scope: string, nowMs: number): void {
    const tracked = this.#scopes.get(scope);
    if (tracked) this.#readEnded(tracked, nowMs);
  }

  onCompared(differing: readonly ScopeHeadLike[]): void {
    this.#comparing = false;
    for (const { scope, revision } of differing) {
      if (revision) this.#scopes.get(scope)?.state.onHead(revision);
    }
  }

  onCompareFailed(): void {
    this.#comparing = false;
  }

  due(nowMs: number, random: number): Due {
    if (this.silent(nowMs)) this.#pollWhileSilent(nowMs, random);
    const compare = this.#compareDue(nowMs, random);
    const reads: Read[] = [];
    let running = [...this.#scopes.values()].filter(({ reading }) => reading).length;
    let nextMs = Math.min(
      this.#pollMs ?? this.#beaconMs + readerTimes.silenceMs,
      this.#compareMs ?? Number.POSITIVE_INFINITY,
    );
    for (const [scope, tracked] of this.#scopes) {
      if (!tracked.state.behind || tracked.reading || running >= readsMax) continue;
      if (tracked.notBeforeMs > nowMs) nextMs = Math.min(nextMs, tracked.notBeforeMs);
      else {
        tracked.reading = true;
        running += 1;
        reads.push({ scope, since: tracked.state.asOf });
      }
    }
    return { reads, compare, nextMs };
  }

  #pollWhileSilent(nowMs: number, random: number): void {
    this.#pollMs ??= nowMs + random * readerTimes.firstPollMs;
    if (nowMs < this.#pollMs) return;
    this.#pollMs = nowMs + around(readerTimes.pollMs, random);
    for (const { state } of this.#scopes.values()) state.doubt();
  }

  #compareDue(nowMs: number, random: number): Due['compare'] {
    this.#compareMs ??= nowMs + around(readerTimes.compareMs, random);
    if (nowMs < this.#compareMs || this.#comparing) return undefined;
    this.#compareMs = nowMs + around(readerTimes.compareMs, random);
    const known = [...this.#scopes].flatMap(([scope, { state }]) =>
      state.asOf && !state.behind ? [{ scope, asOf: state.asOf, head: state.head }] : [],
    );
    const newest = known.reduce<Revision | undefined>(
      (found, { asOf }) => (found && found.revision >= asOf.revision ? found : asOf),
      undefined,
    );
    if (!newest) return undefined;
    this.#comparing = true;
    return {
      heads: known.map(({ scope, asOf, head }) => ({ scope, revision: { epoch: asOf.epoch, revision: head } })),
      since: newest,
    };
  }

  #readEnded(tracked: Tracked<C>, nowMs: number): void {
    tracked.reading = false;
    tracked.tries = tracked.state.behind ? tracked.tries + 1 : 0;
    const pause = Math.min(readerTimes.retryMs * 2 ** (tracked.tries - 1), readerTimes.retryMaxMs);
    tracked.notBeforeMs = tracked.tries > 0 ? nowMs + pause : nowMs;
  }
}

function around(ms: number, random: number): number {
  return ms * (0.8 + 0.4 * random);
}
