import type { Clock, Logger, Store, StoreLease, TxnGroup } from '@berth/kernel';
import { isBerthError, isPassing, packTxns } from '@berth/kernel';

/** Pause before a store that did not answer is asked again. */
const retryMs = 500;

interface Wanted {
  readonly value: Uint8Array;
  /** Whatever stands there; else only over what this replica wrote last. */
  readonly takeOver: boolean;
  dirty: boolean;
  /** Revision of this replica's last write. */
  writtenAt: number | undefined;
}

export interface ReplicaKeysOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  /** Time to live of the lease: so long after this replica's death its keys stand. */
  readonly ttlMs: number;
}

/**
 * Keys that stand as long as this replica lives: all under one lease, brought in line with what is wanted in batches. When
 * the lease is lost, a new one is taken and what still holds is written again.
 */
export class ReplicaKeys {
  readonly #options: ReplicaKeysOptions;
  readonly #wanted = new Map<string, Wanted>();
  #wake: () => void = () => {};

  constructor(options: ReplicaKeysOptions) {
    this.#options = options;
  }

  /** Says what a key should hold; written soon. Without `takeOver` only if this replica wrote the key last: what another
   *  one has written since is newer. */
  set(key: string, value: Uint8Array, options: { readonly takeOver: boolean }): void {
    const { takeOver } = options;
    if (!takeOver && !this.#wanted.has(key)) return;
    this.#wanted.set(key, { value, takeOver, dirty: true, writtenAt: this.#wanted.get(key)?.writtenAt });
    this.#wake();
  }

  /** Runs until the signal aborts; gives the lease back then, and with it all keys. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, clock, log, ttlMs } = this.#options;
    while (!signal.aborted) {
      let lease: StoreLease | undefined;
      try {
        lease = await store.lease(ttlMs);
        await this.#under(lease, AbortSignal.any([signal, lease.lost]));
      } catch (error) {
        if (!isPassing(error) && !isBerthError(error, 'FailedPrecondition', 'LEASE_LOST')) throw error;
        log.warn({ error }, 'the keys of this replica could not be written; trying again');
        await clock.sleep(retryMs, signal);
      }
      if (lease) await this.#giveBack(lease);
      this.#afterLease();
    }
  }

  async #under(lease: StoreLease, signal: AbortSignal): Promise<void> {
    const stop = (): void => this.#wake();
    signal.addEventListener('abort', stop);
    try {
      while (!signal.aborted) {
        this.#dropUntold();
        const due = [...this.#wanted].filter(([, { dirty }]) => dirty);
        if (due.length > 0) await this.#write(due, lease);
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Nothing is being written now, so what was over before it was ever written is known to nobody: there is nothing to say. */
  #dropUntold(): void {
    for (const [key, { takeOver, writtenAt }] of this.#wanted)
      if (!takeOver && writtenAt === undefined) this.#wanted.delete(key);
  }

  async #write(due: readonly [string, Wanted][], lease: StoreLease): Promise<void> {
    if (await this.#commit(due, lease)) return;
    // One of them belongs to another replica by now: find it.
    for (const each of due) {
      if (this.#wanted.get(each[0]) !== each[1] || !each[1].dirty) continue;
      if (!(await this.#commit([each], lease))) this.#wanted.delete(each[0]);
    }
  }

  async #commit(due: readonly [string, Wanted][], lease: StoreLease): Promise<boolean> {
    const groups = due.map(
      ([key, { value, takeOver, writtenAt }]): TxnGroup => ({
        // 0: only where nothing stands.
        compares: takeOver ? [] : [{ kind: 'unchanged', key, modRevision: writtenAt ?? 0 }],
        ops: [{ kind: 'put', key, value, lease }],
      }),
    );
    let all = true;
    for (const txn of packTxns(groups)) {
      const result = await this.#options.store.txn(txn);
      all &&= result.committed;
      if (!result.committed) continue;
      const keys = new Set(txn.ops.map((op) => op.key));
      for (const [key, wanted] of due) {
        if (!keys.has(key)) continue;
        wanted.dirty = false;
        // What was wanted meanwhile goes over this write.
        const now = this.#wanted.get(key);
        if (now) now.writtenAt = result.revision;
      }
    }
    return all;
  }

  /** The keys are gone, or will be: what holds only over an earlier write holds no more, the rest is written again. */
  #afterLease(): void {
    for (const [key, wanted] of this.#wanted) {
      if (wanted.takeOver) {
        wanted.dirty = true;
        wanted.writtenAt = undefined;
      } else this.#wanted.delete(key);
    }
  }

  async #giveBack(lease: StoreLease): Promise<void> {
    try {
      await lease.revoke();
    } catch (error) {
      if (!isBerthError(error)) throw error;
    }
  }
}
