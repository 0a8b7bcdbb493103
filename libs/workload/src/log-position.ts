/**
 * Where the reader of a task's output is, so that it can go on after a break: the output is asked for again from the last
 * line's millisecond, and what was there before is left out.
 */
export class LogPosition {
  #atMs = -1;
  /** Lines seen of that millisecond. */
  #seen = 0;
  /** Of them, how many are still to come again. */
  #again = 0;
  #resumed = false;

  /** Milliseconds since 1970 of the last line; -1 before the first. */
  get atMs(): number {
    return this.#atMs;
  }

  /** What comes now was asked for anew. */
  resume(): void {
    this.#resumed = this.#atMs >= 0;
    this.#again = this.#seen;
  }

  /** Takes note of a line; false if it was there before. */
  isNew(atMs: number): boolean {
    if (this.#resumed) {
      if (atMs < this.#atMs) return false;
      if (atMs === this.#atMs && this.#again > 0) {
        this.#again -= 1;
        return false;
      }
      this.#resumed = false;
    }
    this.#seen = atMs === this.#atMs ? this.#seen + 1 : 1;
    this.#atMs = atMs;
    return true;
  }
}
