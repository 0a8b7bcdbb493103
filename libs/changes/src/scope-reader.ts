import type { BusMessage, Clock, EventBus, Logger, Revision, Rng } from '@berth/kernel';
import { BerthError, isBerthError } from '@berth/kernel';
import type { ChangeLike, FeedStep, ScopeAnswer, ScopeHeadLike } from './change.ts';
import type { ChangeEvent } from './cloud-event.ts';
import { decodeBeacon, decodeChangeEvent, decodeHead } from './cloud-event.ts';
import type { Due, Read } from './reader-plan.ts';
import { ReaderPlan } from './reader-plan.ts';
import { eventSubjects } from './subjects.ts';

export interface ScopeReaderOptions<C extends ChangeLike> {
  readonly owner: string;
  readonly bus: EventBus;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  /** A change as it travelled: `Change.fromJSON`. */
  readonly fromJson: (json: unknown) => C;
  /** The owner's `Changes` RPC: all changes of a scope after a revision, or the whole of it. */
  readonly changes: (scope: string, since: Revision | undefined) => Promise<ScopeAnswer<C>>;
  /** The owner's `CompareHeads` RPC: the heads that differ; revision 0 for a scope that is gone. */
  readonly compareHeads: (
    heads: readonly { scope: string; revision: Revision }[],
    since: Revision,
  ) => Promise<readonly ScopeHeadLike[]>;
  /** Gets each step of a scope, in order; applies it before it returns. */
  readonly onStep: (scope: string, step: FeedStep<C>) => void;
}

/**
 * Follows the scopes that a node carries: by events as long as they come, by the owner's RPC at the start, after a gap and
 * in silence. NATS lost, doubled, late or down costs time, never truth. The decisions are `ReaderPlan`'s.
 */
export class ScopeReader<C extends ChangeLike> {
  readonly #options: ScopeReaderOptions<C>;
  readonly #subjects: ReturnType<typeof eventSubjects>;
  readonly #plan: ReaderPlan<C>;
  readonly #subscriptions = new Map<string, AbortController>();
  #running: AbortSignal | undefined;
  #wake: () => void = () => undefined;

  constructor(options: ScopeReaderOptions<C>) {
    this.#options = options;
    this.#subjects = eventSubjects(options.owner);
    this.#plan = new ReaderPlan(options.clock.monotonic());
  }

  /** Follows a scope from now on; `since`: the last revision that was applied, from disk. */
  add(scope: string, since?: Revision): void {
    if (this.#subscriptions.has(scope)) return;
    const subscription = new AbortController();
    this.#subscriptions.set(scope, subscription);
    this.#plan.add(scope, since, this.#options.clock.monotonic());
    this.#subscribe(scope, subscription.signal);
    this.#wake();
  }

  /** Stops following; no step of the scope comes after this. */
  remove(scope: string): void {
    this.#subscriptions.get(scope)?.abort();
    this.#subscriptions.delete(scope);
    this.#plan.remove(scope);
  }

  /** What has been applied of a scope; undefined before its first answer. */
  asOf(scope: string): Revision | undefined {
    return this.#plan.asOf(scope);
  }

  get scopes(): readonly string[] {
    return [...this.#subscriptions.keys()];
  }

  /** Until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { bus, clock, rng } = this.#options;
    this.#running = signal;
    for (const [scope, subscription] of this.#subscriptions) this.#subscribe(scope, subscription.signal);
    void this.#listen(this.#subjects.beacon, signal, ({ data }) => {
      decodeBeacon(data);
      this.#plan.onBeacon(clock.monotonic());
    });
    const endListening = bus.onConnection(() => this.#wake());
    while (!signal.aborted) {
      const nowMs = clock.monotonic();
      const due = this.#plan.due(nowMs, rng.next());
      for (const read of due.reads) void this.#read(read);
      if (due.compare) void this.#compare(due.compare);
      await this.#woken(Math.max(1, due.nextMs - nowMs), signal);
    }
    endListening();
    for (const scope of this.scopes) this.#subscriptions.get(scope)?.abort();
  }

  #subscribe(scope: string, signal: AbortSignal): void {
    if (!this.#running) return;
    const both = AbortSignal.any([signal, this.#running]);
    void this.#listen(this.#subjects.changes(scope), both, ({ data }) => {
      const event = decodeChangeEvent(data);
      // A stream's consumer may be told to deliver to any subject: what an event says of itself decides.
      if (event.owner !== this.#options.owner || event.scope !== scope) throw misplaced(event);
      const changes = event.changes.map((change) => this.#options.fromJson(change));
      this.#apply(scope, this.#plan.onEvent({ ...event, changes }));
    });
    void this.#listen(this.#subjects.head(scope), both, ({ data }) => this.#plan.onHead(decodeHead(data)));
  }

  async #listen(subject: string, signal: AbortSignal, handle: (message: BusMessage) => void): Promise<void> {
    const { bus, log } = this.#options;
    try {
      for await (const message of bus.subscribe(subject, { signal })) {
        if (signal.aborted) return;
        try {
          handle(message);
        } catch (error) {
          if (!isBerthError(error, 'InvalidArgument', 'BAD_EVENT')) throw error;
          log.warn({ subject, err: error }, 'an event that cannot be read');
        }
        this.#wake();
      }
    } catch (error) {
      // Without this subscription the reader still has the owner's RPC, every few seconds.
      if (!isBerthError(error, 'PermissionDenied')) throw error;
      log.error({ subject, err: error }, 'may not listen to events');
    }
  }

  async #read({ scope, since }: Read): Promise<void> {
    const { changes, clock, log } = this.#options;
    try {
      const answer = await changes(scope, since);
      this.#apply(scope, this.#plan.onAnswer(scope, answer, clock.monotonic()));
    } catch (error) {
      if (!isBerthError(error)) throw error;
      log.debug({ scope, err: error }, 'a scope could not be read');
      this.#plan.onReadFailed(scope, clock.monotonic());
    }
    this.#wake();
  }

  async #compare({ heads, since }: NonNullable<Due['compare']>): Promise<void> {
    const { compareHeads, log } = this.#options;
    try {
      this.#plan.onCompared(await compareHeads(heads, since));
    } catch (error) {
      if (!isBerthError(error)) throw error;
      log.debug({ err: error }, 'heads could not be compared');
      this.#plan.onCompareFailed();
    }
    this.#wake();
  }

  #apply(scope: string, steps: readonly FeedStep<C>[]): void {
    for (const step of steps) this.#options.onStep(scope, step);
  }

  #woken(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        signal.removeEventListener('abort', done);
        this.#wake = () => undefined;
        resolve();
      };
      const cancel = this.#options.clock.timer(ms, done);
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }
}

function misplaced({ owner, scope }: ChangeEvent): BerthError {
  return new BerthError('InvalidArgument', `an event of ${owner}, ${scope}, does not belong here`, {
    reason: 'BAD_EVENT',
  });
}
