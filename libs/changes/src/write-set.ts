import type { Compare, KeyFamily, StoredEntry, StoreLease, StoreOp, TxnGroup } from '@berth/kernel';
import { headKey } from '@berth/kernel';

const nothing = new Uint8Array();

/**
 * Collects writes of one owner that belong together. Every written value's scopes get their heads touched in the same txn,
 * so that a scope has a revision of its own.
 */
export class WriteSet {
  readonly #owner: string;
  readonly #compares: Compare[] = [];
  readonly #ops = new Map<string, StoreOp>();

  constructor(owner: string) {
    this.#owner = owner;
  }

  get empty(): boolean {
    return this.#ops.size === 0;
  }

  /** Writes whatever stands there. */
  put<T>(family: KeyFamily<T>, value: T, options: { readonly lease?: StoreLease } = {}): this {
    const key = family.keyOf(value);
    this.#ops.set(key, {
      kind: 'put',
      key,
      value: family.encode(value),
      ...(options.lease ? { lease: options.lease } : {}),
    });
    for (const scope of family.scopesOf(value)) this.touch(scope);
    return this;
  }

  /** Writes only if the key does not exist: the compare rule for things that can be taken once. */
  create<T>(family: KeyFamily<T>, value: T, options: { readonly lease?: StoreLease } = {}): this {
    this.compare({ kind: 'absent', key: family.keyOf(value) });
    return this.put(family, value, options);
  }

  /** Writes only if the entry is as it was read. */
  update<T>(family: KeyFamily<T>, value: T, read: Pick<StoredEntry, 'modRevision'>): this {
    this.compare({ kind: 'unchanged', key: family.keyOf(value), modRevision: read.modRevision });
    return this.put(family, value);
  }

  /** Deletes; the value names the key and the scopes. */
  delete<T>(family: KeyFamily<T>, value: T, read?: Pick<StoredEntry, 'modRevision'>): this {
    const key = family.keyOf(value);
    if (read) this.compare({ kind: 'unchanged', key, modRevision: read.modRevision });
    this.#ops.set(key, { kind: 'delete', key });
    for (const scope of family.scopesOf(value)) this.touch(scope);
    return this;
  }

  /** Touches the head of a scope. */
  touch(scope: string): this {
    const key = headKey(this.#owner, scope);
    if (!this.#ops.has(key)) this.#ops.set(key, { kind: 'put', key, value: nothing });
    return this;
  }

  /** Removes the head of a scope that is gone for good, with its last resource. */
  dropScope(scope: string): this {
    const key = headKey(this.#owner, scope);
    this.#ops.set(key, { kind: 'delete', key });
    return this;
  }

  compare(compare: Compare): this {
    this.#compares.push(compare);
    return this;
  }

  /** What must commit together; `packTxns` makes txns of groups. */
  group(): TxnGroup {
    return { compares: [...this.#compares], ops: [...this.#ops.values()] };
  }
}
