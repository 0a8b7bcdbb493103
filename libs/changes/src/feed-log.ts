import type { ChangeLike } from './change.ts';

export interface LogEntry<C extends ChangeLike> {
  readonly revision: number;
  readonly changes: readonly C[];
}

/** The newest changes of a mirror, by revision; bounded by the number of changes. The oldest fall out. */
export class FeedLog<C extends ChangeLike> {
  readonly #changesMax: number;
  #entries: LogEntry<C>[] = [];
  #first = 0;
  #count = 0;
  /** All changes after this revision are held. */
  #after = 0;

  constructor(changesMax: number) {
    this.#changesMax = changesMax;
  }

  reset(revision: number): void {
    this.#entries = [];
    this.#first = 0;
    this.#count = 0;
    this.#after = revision;
  }

  push(entry: LogEntry<C>): void {
    if (entry.changes.length === 0) return;
    this.#entries.push(entry);
    this.#count += entry.changes.length;
    while (this.#count > this.#changesMax && this.#first < this.#entries.length) {
      const oldest = this.#entries[this.#first++];
      if (oldest === undefined) break;
      this.#count -= oldest.changes.length;
      this.#after = oldest.revision;
    }
    // Cut off what has fallen out now and then, not at each push.
    if (this.#first > 1024 && this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Entries after a revision, oldest first; undefined if some of them have fallen out. */
  since(revision: number): readonly LogEntry<C>[] | undefined {
    if (revision < this.#after) return undefined;
    let low = this.#first;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle]?.revision ?? 0) > revision) high = middle;
      else low = middle + 1;
    }
    return this.#entries.slice(low);
  }
}
