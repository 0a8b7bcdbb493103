import type { MirrorOptions, MirrorStep, Revision, Store, StoredEntry } from '@berth/kernel';

/** Follows a mirror and checks what every reader relies on: later revisions only, keys sorted, `previous` as held. */
export class MirrorFollower {
  /** What the mirror holds. */
  readonly entries = new Map<string, StoredEntry>();
  readonly steps: MirrorStep[] = [];
  /** What broke the mirror's promises. */
  readonly violations: string[] = [];
  revision: Revision = { epoch: '', revision: 0 };
  resets = 0;
  ended = false;
  /** What the mirror threw. */
  error: unknown;
  readonly #stop = new AbortController();
  readonly done: Promise<void>;

  constructor(store: Store, prefix: string, options: Pick<MirrorOptions, 'since'> = {}) {
    this.done = this.#follow(store.mirror(prefix, { ...options, signal: this.#stop.signal }));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }

  /** Revisions that brought changes, in the order of their coming. */
  get changedRevisions(): number[] {
    return this.steps.flatMap((step) =>
      step.kind === 'batch' && step.changes.length > 0 ? [step.revision.revision] : [],
    );
  }

  async #follow(steps: AsyncIterable<MirrorStep>): Promise<void> {
    try {
      for await (const step of steps) this.#apply(step);
    } catch (error) {
      this.error = error;
    }
    this.ended = true;
  }

  #apply(step: MirrorStep): void {
    this.steps.push(step);
    if (step.kind === 'reset') {
      if (step.revision.epoch === this.revision.epoch && step.revision.revision < this.revision.revision) {
        this.violations.push(`reset from ${this.revision.revision} back to ${step.revision.revision}`);
      }
      this.resets += 1;
      this.entries.clear();
      for (const entry of step.entries) this.entries.set(entry.key, entry);
      this.#checkSorted(step.entries.map((entry) => entry.key));
    } else {
      if (step.revision.epoch === this.revision.epoch && step.revision.revision <= this.revision.revision) {
        this.violations.push(`batch ${step.revision.revision} after ${this.revision.revision}`);
      }
      for (const change of step.changes) {
        const key = change.kind === 'put' ? change.entry.key : change.key;
        const held = this.entries.get(key);
        if (this.resets > 0 && held?.modRevision !== change.previous?.modRevision) {
          this.violations.push(
            `${change.kind} ${key} at ${step.revision.revision}: previous ${change.previous?.modRevision}, held ${held?.modRevision}`,
          );
        }
        if (change.kind === 'put') {
          if (change.entry.modRevision !== step.revision.revision) this.violations.push(`${key}: torn revision`);
          this.entries.set(key, change.entry);
        } else this.entries.delete(key);
      }
      this.#checkSorted(step.changes.map((change) => (change.kind === 'put' ? change.entry.key : change.key)));
    }
    this.revision = step.revision;
  }

  #checkSorted(keys: readonly string[]): void {
    if (keys.some((key, index) => index > 0 && (keys[index - 1] as string) >= key)) {
      this.violations.push(`keys out of order: ${keys.slice(0, 5).join(' ')} …`);
    }
  }
}
