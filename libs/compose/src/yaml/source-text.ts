import type { Position } from '../problem.ts';

/** A file's text with its line starts. */
export class SourceText {
  readonly path: string;
  readonly text: string;
  readonly #lineStarts: number[] = [0];

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
    for (let index = text.indexOf('\n'); index >= 0; index = text.indexOf('\n', index + 1)) {
      this.#lineStarts.push(index + 1);
    }
  }

  /** The place of an offset. */
  position(offset: number): Position {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { file: this.path, line: low + 1, column: offset - (this.#lineStarts[low] ?? 0) + 1 };
  }

  /** The place of a text within a range; the range's start where escapes hide it. */
  find(range: { readonly start: number; readonly end: number }, needle: string): Position {
    const index = this.text.slice(range.start, range.end).indexOf(needle);
    return this.position(range.start + Math.max(index, 0));
  }
}
