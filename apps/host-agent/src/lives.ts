/** The loops of a process. The first that dies ends it: half an agent is worse than none. */
export class Lives {
  /** Rejects with what the first loop died of; never resolves. */
  readonly done: Promise<void>;
  readonly #all: Promise<unknown>[] = [];
  #fail: (error: unknown) => void = () => {};

  constructor() {
    this.done = new Promise((_, reject) => {
      this.#fail = reject;
    });
  }

  add(loop: Promise<unknown>): void {
    this.#all.push(loop);
    loop.catch((error: unknown) => this.#fail(error));
  }

  /** Resolves when all have ended, one way or another; those added meanwhile too. */
  async ended(): Promise<void> {
    for (let seen = 0; seen < this.#all.length; ) {
      seen = this.#all.length;
      await Promise.allSettled(this.#all);
    }
  }
}
