/** Says what is being done and how long it took; on a terminal in colour. */
export class Progress {
  readonly #colored = process.stderr.isTTY === true && process.env['NO_COLOR'] === undefined;
  readonly #startedAt = performance.now();

  /** Runs a step under a heading. */
  async step<T>(heading: string, run: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    this.#print(`${this.#paint('36', '▸')} ${heading}`);
    const result = await run();
    this.#print(`${this.#paint('32', '✓')} ${heading} ${this.#paint('2', seconds(startedAt))}`);
    return result;
  }

  /** A remark on the step under way. */
  readonly note = (text: string): void => this.#print(`  ${this.#paint('2', text)}`);

  /** Time since the start, as text. */
  get total(): string {
    return seconds(this.#startedAt);
  }

  #print(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  #paint(code: string, text: string): string {
    return this.#colored ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1_000).toFixed(1)} s`;
}
