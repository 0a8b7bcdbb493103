import type { Rng } from '@berth/kernel';

/** Randomness that a seed repeats (sfc32). Not for secrets. */
export class SeededRng implements Rng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = 0;
    this.#b = seed | 0;
    this.#c = (seed / 2 ** 32) | 0;
    // The first outputs of similar seeds are similar.
    for (let i = 0; i < 16; i++) this.#word();
  }

  next(): number {
    return this.#word() / 2 ** 32;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.#word() >>> 24);
  }

  /** A generator of its own, so that parts of a test don't shift each other's sequence. */
  fork(): SeededRng {
    return new SeededRng(this.#word() + this.#word() * 2 ** 20);
  }

  #word(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}
