import type { Revision, TxnGroup } from '@berth/kernel';
import { BerthError, packTxns } from '@berth/kernel';
import { backoff } from '@berth/workload';
import type { Mirrors } from './mirrors.ts';
import type { SchedulerOptions } from './options.ts';

/** Rounds of "decide, commit, conflict" before a caller is asked to come again. */
const attemptsMax = 10;
/** Wait after a conflict, doubled for each in a row. */
const conflictDelayMs = 10;
const conflictDelayMaxMs = 500;

/** What was decided on the mirror: nothing to write, or groups that must be written. */
export interface Proposal<T> {
  readonly answer: T;
  readonly groups: readonly TxnGroup[];
}

/**
 * Decides on the mirror and commits by compare; a conflict drops the decision and decides again on what stands then.
 * Any replica may do so: the compares order them.
 */
export class Committer {
  readonly #options: SchedulerOptions;
  readonly #mirrors: Mirrors;

  constructor(options: SchedulerOptions, mirrors: Mirrors) {
    this.#options = options;
    this.#mirrors = mirrors;
  }

  /**
   * Waits until the mirror shows a key as it stands in the store: what was acknowledged before this call, by whatever
   * replica, is then seen. `held`: does the mirror hold it? (The store's own revision would not do: it moves with what others
   * own, and this mirror hears of that only now and then.)
   */
  async catchUp(key: string, held: () => boolean): Promise<void> {
    const { feed } = this.#mirrors;
    await feed.waitFor(undefined);
    const { entry, revision } = await this.#options.store.get(key);
    if (entry) await feed.waitFor(this.#mirrors.at(entry.modRevision));
    else if (held()) await feed.waitFor(this.#mirrors.at(revision));
  }

  /** Returns the answer and the revision at which it stands in the store. Conflict with reason BUSY after 10 rounds. */
  async commit<T>(decide: () => Proposal<T>): Promise<{ readonly answer: T; readonly revision: Revision }> {
    const { clock } = this.#options;
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const { answer, groups } = decide();
      const revision = await this.#write(groups);
      if (revision) return { answer, revision };
      // The mirror is about to show what was in the way.
      await clock.sleep(backoff(conflictDelayMs, attempt, conflictDelayMaxMs));
    }
    throw new BerthError('Conflict', 'others keep changing the same; try again', { reason: 'BUSY' });
  }

  /** Undefined: a compare did not hold. What was written before it stands, and is not decided again. */
  async #write(groups: readonly TxnGroup[]): Promise<Revision | undefined> {
    const { feed } = this.#mirrors;
    let revision = await feed.waitFor(undefined);
    for (const txn of packTxns(groups)) {
      const result = await this.#options.store.txn(txn);
      if (!result.committed) return undefined;
      revision = { epoch: revision.epoch, revision: result.revision };
    }
    await feed.waitFor(revision);
    return revision;
  }
}
