import type { KeyFamily, MirrorChange, StoredEntry } from '@berth/kernel';

/** A record with the revision at which it was read, for compares. */
export interface Stored<T> {
  readonly value: T;
  readonly modRevision: number;
}

/** What reads of a table see. */
export interface Records<T> {
  readonly size: number;
  /** By the tokens of its id. */
  get(...id: readonly string[]): Stored<T> | undefined;
  values(): Iterable<Stored<T>>;
}

/** One family's records in memory, by store key. */
export class RecordTable<T> implements Records<T> {
  readonly family: KeyFamily<T>;
  readonly #records = new Map<string, Stored<T>>();

  constructor(family: KeyFamily<T>) {
    this.family = family;
  }

  get size(): number {
    return this.#records.size;
  }

  get(...id: readonly string[]): Stored<T> | undefined {
    return this.#records.get(this.family.key(...id));
  }

  at(key: string): Stored<T> | undefined {
    return this.#records.get(key);
  }

  values(): Iterable<Stored<T>> {
    return this.#records.values();
  }

  clear(): void {
    this.#records.clear();
  }

  put(entry: StoredEntry): Stored<T> {
    const record = { value: this.family.decode(entry), modRevision: entry.modRevision };
    this.#records.set(entry.key, record);
    return record;
  }

  delete(key: string): void {
    this.#records.delete(key);
  }

  /** Takes over a change of this family; returns the record before and after. */
  apply(change: MirrorChange): { readonly before: Stored<T> | undefined; readonly after: Stored<T> | undefined } {
    const key = change.kind === 'put' ? change.entry.key : change.key;
    const before = this.#records.get(key);
    if (change.kind === 'put') return { before, after: this.put(change.entry) };
    this.delete(key);
    return { before, after: undefined };
  }
}
