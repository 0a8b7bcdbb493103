/** A changed head is repeated this long after the change. */
const repeatAfterMs = [1_000, 2_000, 4_000, 8_000, 16_000] as const;

export interface HeadChange {
  readonly epoch: string;
  readonly scope: string;
  readonly revision: number;
}

interface Repeating extends HeadChange {
  readonly changedAtMs: number;
  repeats: number;
}

/** Which heads are due to be repeated: a reader that lost the last event of a scope learns of it by them. Pure. */
export class HeadRepeater {
  readonly #heads = new Map<string, Repeating>();

  changed(head: HeadChange, nowMs: number): void {
    this.#heads.set(head.scope, { ...head, changedAtMs: nowMs, repeats: 0 });
  }

  due(nowMs: number): HeadChange[] {
    const due: HeadChange[] = [];
    for (const head of this.#heads.values()) {
      const at = repeatAfterMs[head.repeats];
      if (at === undefined) this.#heads.delete(head.scope);
      else if (nowMs - head.changedAtMs >= at) {
        head.repeats += 1;
        due.push({ epoch: head.epoch, scope: head.scope, revision: head.revision });
      }
    }
    return due;
  }
}
