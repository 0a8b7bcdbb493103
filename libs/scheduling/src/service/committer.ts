import type { Revision, TxnGroup } from '@berth/kernel';
import { BerthError, packTxns } from '@berth/kernel';
import type { Mirrors } from './mirrors.ts';
import type { SchedulerOptions } from './options.ts';

/** Rounds of "decide, commit, conflict" before a caller is asked to come again. */
const attemptsMax = 10;

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

  /** Waits until the mirror holds everything that was acknowledged before this call, by whatever replica. */
  async catchUp(key: string): Promise<void> {
    await this.#mirrors.feed.waitFor(undefined);
    const { revision } = await this.#options.store.get(key);
    await this.#mirrors.feed.waitFor(this.#mirrors.at(revision));
  }

  /** Returns the answer and the revision at which it stands in the store. Conflict with reason BUSY after 10 rounds. */
  async commit<T>(decide: () => Proposal<T>): Promise<{ readonly answer: T; readonly revision: Revision }> {
    for (let attempt = 1; attempt <= attemptsMax; attempt += 1) {
      const { answer, groups } = decide();
      const result = await this.#write(groups);
      if (result.committed) return { answer, revision: result.revision };
    }
    throw new BerthError('Conflict', 'others keep changing the same; try again', { reason: 'BUSY' });
  }

  async #write(groups: readonly TxnGroup[]): Promise<{ readonly committed: boolean; readonly revision: Revision }> {
    const { feed } = this.#mirrors;
    let revision = await feed.waitFor(undefined);
    for (const txn of packTxns(groups)) {
      const result = await this.#options.store.txn(txn);
      revision = await feed.waitFor({ epoch: revision.epoch, revision: result.revision });
      if (!result.committed) return { committed: false, revision };
      revision = { epoch: revision.epoch, revision: result.revision };
    }
    return { committed: true, revision };
  }
}
