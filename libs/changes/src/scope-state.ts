import type { Revision } from '@berth/kernel';
import { compareRevisions } from '@berth/kernel';
import type { ChangeLike, FeedStep, ScopeAnswer } from './change.ts';
import type { ChangeEvent } from './cloud-event.ts';
import { revisionOf } from './cloud-event.ts';

/** Events kept while the scope is being read; the oldest go, which costs another read. */
const pendingMax = 256;

/** An event whose changes were decoded. */
export interface DecodedEvent<C extends ChangeLike> extends Omit<ChangeEvent, 'changes'> {
  readonly changes: readonly C[];
}

/**
 * What a reader holds of one scope, and whether it must read it again. Pure: every input returns the steps to apply. It
 * never goes back in time within an epoch, whatever is lost, doubled or late.
 */
export class ScopeState<C extends ChangeLike> {
  /** All changes up to here are applied. */
  #asOf: Revision | undefined;
  /** Revision of the scope's last change that is applied; known after a read. */
  #head = 0;
  #behind = true;
  #pending: DecodedEvent<C>[] = [];
  #partial: DecodedEvent<C> | undefined;

  /** `since`: what was applied before, from disk. */
  constructor(since?: Revision) {
    this.#asOf = since;
  }

  get asOf(): Revision | undefined {
    return this.#asOf;
  }

  get head(): number {
    return this.#head;
  }

  /** The scope must be read. */
  get behind(): boolean {
    return this.#behind;
  }

  /** Reads it again, though nothing says that it must be. */
  doubt(): void {
    this.#behind = true;
  }

  onEvent(event: DecodedEvent<C>): FeedStep<C>[] {
    if (this.#asOf && compareRevisions(revisionOf(event), this.#asOf) !== 'newer' && event.epoch === this.#asOf.epoch) {
      return [];
    }
    if (this.#behind || event.epoch !== this.#asOf?.epoch) return this.#keepForLater(event);
    const whole = this.#assemble(event);
    if (whole === 'incomplete') return [];
    if (whole === 'torn') return this.#keepForLater(event);
    if (whole.kind === 'changes' && whole.prev !== this.#head) return this.#keepForLater(event);
    this.#asOf = revisionOf(whole);
    this.#head = whole.revision;
    return [{ kind: whole.kind, revision: this.#asOf, changes: whole.changes }];
  }

  /** A head that was repeated, or that differed. Revision 0: the scope is gone. */
  onHead(head: Revision): void {
    if (head.epoch !== this.#asOf?.epoch) this.#behind = true;
    else if (head.revision > this.#asOf.revision || (head.revision === 0 && this.#head !== 0)) this.#behind = true;
  }

  onAnswer(answer: ScopeAnswer<C>): FeedStep<C>[] {
    const { revision } = answer;
    if (!revision) return [];
    const against = this.#asOf && compareRevisions(revision, this.#asOf);
    // An answer from before what is held; a replica of the same epoch that has caught up will do better.
    if (against === 'older') return [];
    if (!answer.reset && against !== 'newer' && against !== 'same') {
      this.#asOf = undefined;
      return [];
    }
    this.#asOf = revision;
    this.#head = answer.head?.revision ?? 0;
    this.#behind = false;
    const steps: FeedStep<C>[] =
      answer.reset || answer.changes.length > 0
        ? [{ kind: answer.reset ? 'reset' : 'changes', revision, changes: answer.changes }]
        : [];
    const pending = this.#pending;
    this.#pending = [];
    this.#partial = undefined;
    // One from another epoch is stale now: the service knows better than what was on its way.
    for (const event of pending) if (event.epoch === revision.epoch) steps.push(...this.onEvent(event));
    return steps;
  }

  #keepForLater(event: DecodedEvent<C>): FeedStep<C>[] {
    this.#behind = true;
    this.#partial = undefined;
    this.#pending.push(event);
    if (this.#pending.length > pendingMax) this.#pending.shift();
    return [];
  }

  /** Puts the parts of an event together. */
  #assemble(event: DecodedEvent<C>): DecodedEvent<C> | 'incomplete' | 'torn' {
    const partial = this.#partial;
    const continues =
      partial?.revision === event.revision && partial.kind === event.kind && partial.parts === event.parts;
    if (continues && event.part <= partial.part) return 'incomplete';
    if (event.part !== (continues ? partial.part + 1 : 1)) return 'torn';
    const whole: DecodedEvent<C> = continues ? { ...event, changes: [...partial.changes, ...event.changes] } : event;
    this.#partial = whole.part < whole.parts ? whole : undefined;
    return this.#partial ? 'incomplete' : whole;
  }
}
