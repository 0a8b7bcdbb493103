import type { EventLog } from '@berth/kernel';

/** Appends under way at the same time. Each names the sequence it follows, so they can't overtake each other. */
const appendsMax = 64;

type Event = Omit<Parameters<EventLog['append']>[0], 'expectedLastSequence'>;

/** Appends to a log without waiting for each answer. The first failure ends it; what was sent after it is refused. */
export class AppendWindow {
  readonly #log: EventLog;
  readonly #onFailure: () => void;
  #sequence: number;
  #failure: { readonly error: unknown } | undefined;
  readonly #pending: Promise<void>[] = [];

  constructor(log: EventLog, lastSequence: number, onFailure: () => void) {
    this.#log = log;
    this.#sequence = lastSequence;
    this.#onFailure = onFailure;
  }

  /** Sends an event; waits only while too many are under way. */
  async append(event: Event): Promise<void> {
    this.throwFailure();
    const expectedLastSequence = this.#sequence;
    this.#sequence += 1;
    this.#track(this.#log.append({ ...event, expectedLastSequence }));
    if (this.#pending.length >= appendsMax) await this.#pending.shift();
    this.throwFailure();
  }

  /** Calls `done` when all that was sent so far has been recorded; never after a failure. */
  whenRecorded(done: () => void): void {
    this.#track(
      Promise.all(this.#pending).then(() => {
        if (!this.#failure) done();
      }),
    );
  }

  throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }

  #track(work: Promise<unknown>): void {
    const settled: Promise<void> = work
      .then(
        () => undefined,
        (error: unknown) => {
          if (this.#failure) return;
          this.#failure = { error };
          this.#onFailure();
        },
      )
      .then(() => {
        const index = this.#pending.indexOf(settled);
        if (index >= 0) this.#pending.splice(index, 1);
      });
    this.#pending.push(settled);
  }
}
