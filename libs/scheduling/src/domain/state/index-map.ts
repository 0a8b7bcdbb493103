/** Sets of members by key; empty sets vanish. */
export class IndexMap {
  readonly #sets = new Map<string, Set<string>>();

  add(key: string, member: string): void {
    const set = this.#sets.get(key);
    if (set) set.add(member);
    else this.#sets.set(key, new Set([member]));
  }

  remove(key: string, member: string): void {
    const set = this.#sets.get(key);
    if (set?.delete(member) && set.size === 0) this.#sets.delete(key);
  }

  /** Members of a key. Do not keep: it changes with the index. */
  of(key: string): ReadonlySet<string> {
    return this.#sets.get(key) ?? none;
  }

  keys(): IterableIterator<string> {
    return this.#sets.keys();
  }

  clear(): void {
    this.#sets.clear();
  }
}

const none: ReadonlySet<string> = new Set();
