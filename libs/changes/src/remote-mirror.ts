import type { Clock, Logger, Revision, Rng } from '@berth/kernel';
import { compareRevisions, isBerthError } from '@berth/kernel';
import type { ChangeLike, FeedStep, WatchAnswer } from './change.ts';

const backoffFirstMs = 100;
const backoffMaxMs = 2_000;

export interface FollowOptions<C extends ChangeLike> {
  /** Opens the owner's Watch after a revision. */
  readonly call: (since: Revision | undefined, signal: AbortSignal) => AsyncIterable<WatchAnswer<C>>;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Where to go on; absent for a snapshot. */
  readonly since?: Revision;
}

/** A step of a followed Watch; `disconnected` says that what follows may be late: from now on absence proves nothing. */
export type FollowStep<C extends ChangeLike> = FeedStep<C> | { readonly kind: 'disconnected' };

/**
 * Follows another owner's Watch over reconnects and replicas until the signal aborts. Never goes back in time: what is
 * older than the last applied revision of the same epoch is dropped, and a replica that lags is left for another try.
 */
export async function* followWatch<C extends ChangeLike>(options: FollowOptions<C>): AsyncGenerator<FollowStep<C>> {
  const { clock, log, rng, signal } = options;
  let applied = options.since;
  let failures = 0;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const attemptSignal = AbortSignal.any([signal, attempt.signal]);
    let connected = false;
    try {
      for await (const step of wholeSteps(options.call(applied, attemptSignal))) {
        if (signal.aborted) return;
        if (applied && !follows(applied, step)) break;
        applied = step.revision;
        connected = true;
        failures = 0;
        yield step;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isBerthError(error)) throw error;
      if (failures === 0) log.warn({ err: error }, 'watch ended; trying again');
    } finally {
      attempt.abort();
    }
    if (signal.aborted) return;
    if (connected) yield { kind: 'disconnected' };
    const backoffMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(failures, 10));
    failures += 1;
    await clock.sleep(backoffMs * (0.5 + rng.next() / 2), signal);
  }
}

/** May a step come after a revision? Not what is older in its epoch; another epoch only as a reset. */
function follows<C extends ChangeLike>(applied: Revision, step: FeedStep<C>): boolean {
  const order = compareRevisions(step.revision, applied);
  return order === 'other-epoch' ? step.kind === 'reset' : order !== 'older';
}

/** Puts the parts of a step together again; a step whose end does not come is dropped. */
async function* wholeSteps<C extends ChangeLike>(answers: AsyncIterable<WatchAnswer<C>>): AsyncGenerator<FeedStep<C>> {
  let changes: C[] = [];
  let reset = false;
  for await (const answer of answers) {
    changes.push(...answer.changes);
    reset ||= answer.reset;
    if (answer.more || !answer.revision) continue;
    yield { kind: reset ? 'reset' : 'changes', revision: answer.revision, changes };
    changes = [];
    reset = false;
  }
}

/** What another owner owns, held in memory: a followed Watch with its current resources. */
export class RemoteMirror<C extends ChangeLike> {
  readonly #resources = new Map<string, C>();
  readonly #listeners = new Set<(step: FollowStep<C>) => void>();
  #connected = false;
  #revision: Revision | undefined;

  /** Connected, and has had all up to its revision. While it is not, absence means nothing (invariant 9). */
  get synced(): boolean {
    return this.#connected;
  }

  get revision(): Revision | undefined {
    return this.#revision;
  }

  /** Resources by key, as of the last step. */
  get resources(): ReadonlyMap<string, C> {
    return this.#resources;
  }

  /** Calls the listener with each step after it was applied, synchronously. Returns what ends it. */
  onStep(listener: (step: FollowStep<C>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Follows until the signal aborts. */
  async run(options: Omit<FollowOptions<C>, 'since'>): Promise<void> {
    for await (const step of followWatch(options)) {
      if (step.kind === 'disconnected') this.#connected = false;
      else {
        if (step.kind === 'reset') this.#resources.clear();
        for (const change of step.changes) {
          if (change.resource === undefined) this.#resources.delete(change.key);
          else this.#resources.set(change.key, change);
        }
        this.#revision = step.revision;
        this.#connected = true;
      }
      for (const listener of this.#listeners) listener(step);
    }
  }
}
