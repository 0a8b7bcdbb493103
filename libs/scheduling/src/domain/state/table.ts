import type { KeyFamily, StoredEntry } from '@berth/kernel';

/** A record as it stands in the mirror. */
export interface Held<T> {
  readonly value: T;
  /** Revision of its last write: what a compare needs. */
  readonly modRevision: number;
  /** Revision at which it came to be: the order in which records were made. */
  readonly createRevision: number;
}

/** All records of one family, decoded once; tells its owner of each change so that indexes follow. */
export class Table<T> {
  readonly #family: KeyFamily<T>;
  readonly #changed: (previous: T | undefined, next: T | undefined) => void;
  readonly #held = new Map<string, Held<T>>();

  constructor(family: KeyFamily<T>, changed: (previous: T | undefined, next: T | undefined) => void) {
    this.#family = family;
    this.#changed = changed;
  }

  get size(): number {
    return this.#held.size;
  }

  owns(key: string): boolean {
    return this.#family.owns(key);
  }

  /** The record with this id, given as its tokens. */
  get(...tokens: readonly string[]): Held<T> | undefined {
    return this.#held.get(this.#family.key(...tokens));
  }

  values(): IterableIterator<Held<T>> {
    return this.#held.values();
  }

  put(entry: StoredEntry): void {
    const previous = this.#held.get(entry.key);
    const value = this.#family.decode(entry);
    this.#held.set(entry.key, { value, modRevision: entry.modRevision, createRevision: entry.createRevision });
    this.#changed(previous?.value, value);
  }

  delete(key: string): void {
    const previous = this.#held.get(key);
    if (previous === undefined) return;
    this.#held.delete(key);
    this.#changed(previous.value, undefined);
  }

  clear(): void {
    this.#held.clear();
  }
}
