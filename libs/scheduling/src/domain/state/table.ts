import type { StoredEntry } from '@berth/kernel';
import type { Family } from './families.ts';

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
  readonly #family: Family<T>;
  readonly #changed: (previous: T | undefined, next: T | undefined) => void;
  /** By id, its tokens joined: looked up far too often to make a key each time. */
  readonly #held = new Map<string, Held<T>>();
  readonly #idOfKey = new Map<string, string>();

  constructor(family: Family<T>, changed: (previous: T | undefined, next: T | undefined) => void) {
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
    return this.#held.get(idOf(tokens));
  }

  values(): IterableIterator<Held<T>> {
    return this.#held.values();
  }

  put({ createRevision, key, modRevision, value: bytes }: StoredEntry): void {
    const value = this.#family.decode({ key, value: bytes, modRevision, createRevision });
    const id = idOf(this.#family.idOf(value));
    const previous = this.#held.get(id);
    this.#held.set(id, { value, modRevision, createRevision });
    this.#idOfKey.set(key, id);
    this.#changed(previous?.value, value);
  }

  delete(key: string): void {
    const id = this.#idOfKey.get(key);
    const previous = id === undefined ? undefined : this.#held.get(id);
    if (id === undefined || previous === undefined) return;
    this.#idOfKey.delete(key);
    this.#held.delete(id);
    this.#changed(previous.value, undefined);
  }

  clear(): void {
    this.#held.clear();
    this.#idOfKey.clear();
  }
}

function idOf(tokens: readonly string[]): string {
  return tokens.length === 1 ? (tokens[0] ?? '') : tokens.join('\n');
}
