/** Time, as a port: the simulator runs the same code on virtual time. */
export interface Clock {
  /** Milliseconds of a clock that never jumps; for durations. Its zero means nothing. */
  monotonic(): number;
  /** Milliseconds since 1970; for show, certificates and cron. Never compared between machines. */
  wall(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (it does not reject: look at the signal). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `fn` once after `ms`; the returned function cancels. */
  timer(ms: number, fn: () => void): () => void;
}
