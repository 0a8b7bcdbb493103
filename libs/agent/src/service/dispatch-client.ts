import type { rpc } from '@berth/contracts';
import type { Assignment, SessionResponse } from '@berth/contracts/scheduler';
import type { Hello } from '@berth/contracts/workload';
import type { Clock, Logger, Revision, Rng } from '@berth/kernel';
import { compareRevisions, isBerthError } from '@berth/kernel';
import { RetryPause } from './retry.ts';

/** Client of a service of the contracts. */
export type ClientOf<Service> = Service extends { readonly types?: { readonly client: infer Client } } ? Client : never;

/** One whole step of a session. */
export interface DispatchStep {
  /** First of its session: the agent knows now what is its own. */
  readonly first: boolean;
  readonly full: boolean;
  readonly assignments: readonly Assignment[];
  readonly removed: readonly string[];
  readonly revision: Revision | undefined;
}

export interface DispatchClientOptions {
  readonly client: ClientOf<typeof rpc.dispatch>;
  readonly hello: Hello;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  /** Revision of the last step that was applied, in an earlier life of the agent too. */
  readonly applied: () => Revision | undefined;
  readonly onStep: (step: DispatchStep) => void;
  /** The session has become, or is no longer, one that tells what is ours. */
  readonly onSynced: (synced: boolean) => void;
}

/** Holds a dispatch session: the full set once, then deltas, over reconnects from where it was; never back in time. */
export class DispatchClient {
  readonly #o: DispatchClientOptions;
  #toldAll = false;
  #synced = false;

  constructor(options: DispatchClientOptions) {
    this.#o = options;
  }

  /** Has the present session told what is ours? */
  get synced(): boolean {
    return this.#synced;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, rng, log } = this.#o;
    const retry = new RetryPause({ clock, rng });
    while (!signal.aborted) {
      const session = new AbortController();
      try {
        await this.#session(AbortSignal.any([signal, session.signal]), retry);
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        if (retry.first) log.warn({ error: error.message }, 'no dispatch session; trying again');
      } finally {
        session.abort();
        this.#setSynced(false);
      }
      await retry.pause(signal);
    }
  }

  async #session(signal: AbortSignal, retry: RetryPause): Promise<void> {
    const { client, hello, log, onStep, applied } = this.#o;
    let first = true;
    let parts: SessionResponse[] = [];
    for await (const part of client.session({ hello, since: applied(), full: !this.#toldAll }, { signal })) {
      parts.push(part);
      if (part.more) continue;
      const step = parts;
      parts = [];
      const { revision } = part;
      const before = applied();
      if (revision && before && compareRevisions(revision, before) === 'older') {
        log.warn({ revision, applied: before }, 'a scheduler lags behind what is applied; asking another');
        return;
      }
      const full = step.some((p) => p.full);
      onStep({
        first,
        full,
        assignments: step.flatMap((p) => p.assignments),
        removed: step.flatMap((p) => p.removedTaskIds),
        revision: revision ?? before,
      });
      this.#toldAll ||= full;
      if (first) log.info({ full }, 'dispatch session is synced');
      first = false;
      retry.succeeded();
      this.#setSynced(true);
    }
  }

  #setSynced(synced: boolean): void {
    if (this.#synced === synced) return;
    this.#synced = synced;
    this.#o.onSynced(synced);
  }
}
