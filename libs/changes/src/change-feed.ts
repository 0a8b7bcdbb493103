import type { Clock, Logger, MirrorStep, Revision, Store } from '@berth/kernel';
import { assert, BerthError, compareRevisions, decodeToken } from '@berth/kernel';
import type { ChangeLike, FeedStep, ScopeAnswer, ScopeHeadLike, WatchAnswer } from './change.ts';
import { FeedLog } from './feed-log.ts';
import type { View } from './view.ts';

/** Changes in one message of a Watch; a larger step is sent in parts. */
const changesPerMessageMax = 500;
/** A Watch with nothing in view tells its revision at most this often. */
const progressIntervalMs = 1_000;

export interface ChangeFeedOptions<C extends ChangeLike> {
  readonly owner: string;
  readonly store: Store;
  readonly view: View<C>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Changes kept for readers that come back. Default 20,000. */
  readonly changesMax?: number;
  /** How long a reader that is ahead of this replica waits for it before UNAVAILABLE. Default 2,000. */
  readonly catchUpMs?: number;
}

export interface WatchOptions {
  /** Last revision the reader has applied. */
  readonly since?: Revision | undefined;
  /** Only these scopes; empty is all. */
  readonly scopes?: readonly string[];
}

/**
 * A replica's mirror of what its own service owns: runs the owner's View over the store and answers Watch, Changes and
 * CompareHeads from memory. Readers hold no queue here, only a position in the bounded log: a slow one that falls out of
 * it gets a reset.
 */
export class ChangeFeed<C extends ChangeLike> {
  readonly #options: ChangeFeedOptions<C>;
  readonly #log: FeedLog<C>;
  readonly #listeners = new Set<(step: FeedStep<C>, raw: MirrorStep) => void>();
  readonly #current = new Map<string, C>();
  readonly #keysOfScope = new Map<string, Set<string>>();
  readonly #heads = new Map<string, number>();
  readonly #headPrefix: string;
  #revision: Revision | undefined;
  #wakers = new Set<() => void>();

  constructor(options: ChangeFeedOptions<C>) {
    this.#options = options;
    this.#log = new FeedLog(options.changesMax ?? 20_000);
    this.#headPrefix = `${options.owner}/head/`;
  }

  /** Has had a snapshot. Before it, absence means nothing. */
  get synced(): boolean {
    return this.#revision !== undefined;
  }

  /** How far it has come; undefined before the first snapshot. */
  get revision(): Revision | undefined {
    return this.#revision;
  }

  /** Current public resources, by key. */
  get resources(): ReadonlyMap<string, C> {
    return this.#current;
  }

  /** Follows the store until the signal aborts; rejects when the store refuses for good. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const step of this.#options.store.mirror(`${this.#options.owner}/`, { signal })) this.#apply(step);
  }

  /** Calls the listener with each step after it was applied, synchronously and in order; one that comes late reads
   *  `resources` first. Returns what ends it. */
  onStep(listener: (step: FeedStep<C>, raw: MirrorStep) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Waits until this replica has reached a revision of its epoch: a reader never goes back in time. UNAVAILABLE with
   *  reason BEHIND when it takes longer than `catchUpMs`, or NOT_SYNCED before the first snapshot. Another epoch is no
   *  reason to wait: its reader gets a reset. */
  async waitFor(since: Revision | undefined, signal?: AbortSignal): Promise<Revision> {
    const deadline = this.#options.clock.monotonic() + (this.#options.catchUpMs ?? 2_000);
    for (;;) {
      const mine = this.#revision;
      if (mine && (since === undefined || compareRevisions(since, mine) !== 'newer')) return mine;
      const leftMs = deadline - this.#options.clock.monotonic();
      if (leftMs <= 0 || signal?.aborted) {
        throw new BerthError('Unavailable', `${this.#options.owner}: this replica has not caught up yet`, {
          reason: mine ? 'BEHIND' : 'NOT_SYNCED',
        });
      }
      await this.#nextStep(leftMs, signal);
    }
  }

  /** Serves the Watch RPC: until the signal aborts. */
  async *watch(options: WatchOptions, signal: AbortSignal): AsyncGenerator<WatchAnswer<C>> {
    const scopes = options.scopes?.length ? new Set(options.scopes) : undefined;
    const inView = (change: C): boolean => !scopes || change.scopes.some((scope) => scopes.has(scope));
    let at = options.since;
    let sentAtMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      const mine = await this.waitFor(at, signal);
      const entries = at && at.epoch === mine.epoch ? this.#log.since(at.revision) : undefined;
      if (entries === undefined) {
        yield* inParts(mine, true, this.#snapshot(scopes));
        sentAtMs = this.#options.clock.monotonic();
      } else {
        const changes = entries.flatMap((entry) => entry.changes.filter(inView));
        const nowMs = this.#options.clock.monotonic();
        // The first answer also says "you are up to date".
        const first = sentAtMs === Number.NEGATIVE_INFINITY;
        const progressed = at?.revision !== mine.revision && nowMs - sentAtMs >= progressIntervalMs;
        if (changes.length > 0 || first || progressed) {
          yield* inParts(mine, false, changes);
          sentAtMs = nowMs;
        }
      }
      at = mine;
      // The yields above let time pass: look again before waiting for the next step.
      if (this.#revision === mine) await this.#nextStep(undefined, signal);
    }
  }

  /** Serves the Changes RPC. */
  async changes(scope: string, since: Revision | undefined, signal?: AbortSignal): Promise<ScopeAnswer<C>> {
    const mine = await this.waitFor(since, signal);
    const head = { epoch: mine.epoch, revision: this.#heads.get(scope) ?? 0 };
    const entries = since && since.epoch === mine.epoch ? this.#log.since(since.revision) : undefined;
    if (entries === undefined) {
      return { revision: mine, reset: true, changes: this.#snapshot(new Set([scope])), head };
    }
    const changes = entries.flatMap((entry) => entry.changes.filter((change) => change.scopes.includes(scope)));
    return { revision: mine, reset: false, changes, head };
  }

  /** Serves the CompareHeads RPC: the heads that differ from the reader's; a scope that is gone has revision 0. */
  async compareHeads(
    heads: readonly ScopeHeadLike[],
    since: Revision | undefined,
    signal?: AbortSignal,
  ): Promise<{ heads: { scope: string; revision: Revision }[]; revision: Revision }> {
    const mine = await this.waitFor(since, signal);
    const differing = heads
      .map((head) => ({
        held: head.revision,
        scope: head.scope,
        revision: { epoch: mine.epoch, revision: this.#heads.get(head.scope) ?? 0 },
      }))
      .filter(({ held, revision }) => held?.epoch !== revision.epoch || held.revision !== revision.revision)
      .map(({ scope, revision }) => ({ scope, revision }));
    return { heads: differing, revision: mine };
  }

  /** Scopes that have a head. */
  get scopes(): Iterable<string> {
    return this.#heads.keys();
  }

  /** Revision of a scope's last change; undefined if the scope is not known. */
  head(scope: string): number | undefined {
    return this.#heads.get(scope);
  }

  /** Current resources of a scope. */
  ofScope(scope: string): C[] {
    return this.#snapshot(new Set([scope]));
  }

  #apply(raw: MirrorStep): void {
    const { view } = this.#options;
    if (raw.kind === 'reset') {
      this.#current.clear();
      this.#keysOfScope.clear();
      this.#heads.clear();
      for (const entry of raw.entries) this.#noteHead(entry.key, entry.modRevision);
      const changes = view.reset(raw.entries);
      for (const change of changes) this.#note(change);
      this.#log.reset(raw.revision.revision);
      this.#step({ kind: 'reset', revision: raw.revision, changes }, raw);
      return;
    }
    assert(this.#revision !== undefined, 'a mirror begins with a reset');
    for (const change of raw.changes) {
      if (change.kind === 'put') this.#noteHead(change.entry.key, change.entry.modRevision);
      else if (change.key.startsWith(this.#headPrefix)) this.#heads.delete(this.#scopeOf(change.key));
    }
    const changes = view.apply(raw.changes);
    for (const change of changes) this.#note(change);
    this.#log.push({ revision: raw.revision.revision, changes });
    this.#step({ kind: 'changes', revision: raw.revision, changes }, raw);
  }

  #step(step: FeedStep<C>, raw: MirrorStep): void {
    this.#revision = step.revision;
    for (const listener of this.#listeners) listener(step, raw);
    const wakers = this.#wakers;
    this.#wakers = new Set();
    for (const wake of wakers) wake();
  }

  #noteHead(key: string, modRevision: number): void {
    if (key.startsWith(this.#headPrefix)) this.#heads.set(this.#scopeOf(key), modRevision);
  }

  #scopeOf(headKey: string): string {
    return decodeToken(headKey.slice(this.#headPrefix.length));
  }

  #note(change: C): void {
    if (change.resource === undefined) {
      this.#current.delete(change.key);
      for (const scope of change.scopes) {
        const keys = this.#keysOfScope.get(scope);
        keys?.delete(change.key);
        if (keys?.size === 0) this.#keysOfScope.delete(scope);
      }
      return;
    }
    this.#current.set(change.key, change);
    for (const scope of change.scopes) {
      const keys = this.#keysOfScope.get(scope);
      if (keys) keys.add(change.key);
      else this.#keysOfScope.set(scope, new Set([change.key]));
    }
  }

  #snapshot(scopes: ReadonlySet<string> | undefined): C[] {
    if (!scopes) return [...this.#current.values()];
    const found = new Map<string, C>();
    for (const scope of scopes) {
      for (const key of this.#keysOfScope.get(scope) ?? []) {
        const change = this.#current.get(key);
        if (change) found.set(key, change);
      }
    }
    return [...found.values()];
  }

  /** Resolves at the next step, after `timeoutMs`, or when the signal aborts. */
  #nextStep(timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      let cancel: (() => void) | undefined;
      const done = (): void => {
        this.#wakers.delete(done);
        cancel?.();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      if (signal?.aborted) {
        resolve();
        return;
      }
      this.#wakers.add(done);
      signal?.addEventListener('abort', done);
      if (timeoutMs !== undefined) cancel = this.#options.clock.timer(timeoutMs, done);
    });
  }
}

function* inParts<C extends ChangeLike>(revision: Revision, reset: boolean, changes: C[]): Generator<WatchAnswer<C>> {
  let start = 0;
  do {
    const part = changes.slice(start, start + changesPerMessageMax);
    const first = start === 0;
    start += changesPerMessageMax;
    yield { revision, reset: reset && first, more: start < changes.length, changes: part };
  } while (start < changes.length);
}
