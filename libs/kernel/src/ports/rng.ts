/** Randomness, as a port: seeded in tests and in the simulator, the system's secure source in production. */
export interface Rng {
  /** Uniform in [0, 1). */
  next(): number;
  /** `count` random bytes. */
  bytes(count: number): Uint8Array;
}
