import type { MirrorChange, StoredEntry } from '@berth/kernel';
import { assert, decodeToken } from '@berth/kernel';
import type { ChangeLike } from './change.ts';
import type { ChangeEvent } from './cloud-event.ts';
import type { View } from './view.ts';

const lastPart = { part: Number.POSITIVE_INFINITY, parts: Number.POSITIVE_INFINITY };

export interface EventPlanOptions<C extends ChangeLike> {
  readonly owner: string;
  readonly view: View<C>;
  /** A change as it travels. What must not travel (specs, environments, secret values) is left out here. */
  readonly toJson: (change: C) => unknown;
  /** Bytes of changes in one part. */
  readonly partBytesMax: number;
}

/** Where publishing has come to: the last event of the log. */
export type Position = Pick<ChangeEvent, 'epoch' | 'revision' | 'scope' | 'kind' | 'part' | 'parts'>;

/**
 * Which events follow from what happened in the store. Pure and deterministic: whoever publishes, and whenever, the same
 * changes give the same events with the same ids, so a new publisher goes on where the last one stopped.
 */
export class EventPlan<C extends ChangeLike> {
  readonly #options: EventPlanOptions<C>;
  readonly #headPrefix: string;
  readonly #heads = new Map<string, number>();

  constructor(options: EventPlanOptions<C>) {
    this.#options = options;
    this.#headPrefix = `${options.owner}/head/`;
  }

  /** Takes over what the store holds. */
  reset(entries: readonly StoredEntry[]): void {
    this.#heads.clear();
    for (const { key, modRevision } of entries) {
      if (key.startsWith(this.#headPrefix)) this.#heads.set(this.#scopeOf(key), modRevision);
    }
    this.#options.view.reset(entries);
  }

  /** Events of one revision, one per scope whose head it touched, scopes in order. */
  events(epoch: string, revision: number, changes: readonly MirrorChange[]): ChangeEvent[] {
    const touched = new Map<string, { readonly prev: number; readonly changes: C[] }>();
    for (const change of changes) {
      const key = change.kind === 'put' ? change.entry.key : change.key;
      if (!key.startsWith(this.#headPrefix)) continue;
      const scope = this.#scopeOf(key);
      touched.set(scope, { prev: change.previous?.modRevision ?? 0, changes: [] });
      if (change.kind === 'put') this.#heads.set(scope, revision);
      else this.#heads.delete(scope);
    }
    for (const change of this.#options.view.apply(changes)) {
      for (const scope of change.scopes) {
        const event = touched.get(scope);
        assert(event, `${change.key} changed at ${revision} without its scope ${scope}`);
        event.changes.push(change);
      }
    }
    return [...touched]
      .sort(([a], [b]) => order(a, b))
      .flatMap(([scope, event]) =>
        this.#inParts(
          { owner: this.#options.owner, epoch, revision, prev: event.prev, scope, kind: 'changes', more: false },
          event.changes,
        ),
      );
  }

  /** Where the history after `position` is gone: the whole of each scope that is newer, in the order of their heads. */
  resets(epoch: string, position: Position | undefined): ChangeEvent[] {
    const newer = [...this.#heads]
      .filter(([scope, revision]) => isAfter({ epoch, revision, scope, kind: 'reset', ...lastPart }, position))
      .sort(([a, x], [b, y]) => x - y || order(a, b));
    const contents = new Map<string, C[]>(newer.map(([scope]) => [scope, []]));
    for (const change of this.#options.view.snapshot()) {
      for (const scope of change.scopes) contents.get(scope)?.push(change);
    }
    return newer.flatMap(([scope, revision], index) =>
      this.#inParts(
        { owner: this.#options.owner, epoch, revision, prev: 0, scope, kind: 'reset', more: index < newer.length - 1 },
        contents.get(scope) ?? [],
      ),
    );
  }

  #inParts(event: Omit<ChangeEvent, 'part' | 'parts' | 'changes'>, changes: readonly C[]): ChangeEvent[] {
    const parts: unknown[][] = [[]];
    let bytes = 0;
    for (const change of changes) {
      const json = this.#options.toJson(change);
      // Characters, not bytes: text outside ASCII is rare, and the limit is far below what NATS takes.
      const size = JSON.stringify(json).length;
      if (bytes > 0 && bytes + size > this.#options.partBytesMax) {
        parts.push([]);
        bytes = 0;
      }
      parts.at(-1)?.push(json);
      bytes += size;
    }
    return parts.map((each, index) => ({ ...event, part: index + 1, parts: parts.length, changes: each }));
  }

  #scopeOf(key: string): string {
    return decodeToken(key.slice(this.#headPrefix.length));
  }
}

/** Does an event come after what was published? Another epoch is after all of the last one's. */
export function isAfter(event: Position, position: Position | undefined): boolean {
  if (position?.epoch !== event.epoch) return true;
  if (event.revision !== position.revision) return event.revision > position.revision;
  if (event.scope !== position.scope) return event.scope > position.scope;
  // The parts of one event are cut alike by whoever publishes them; a reset takes the place of a broken-off event.
  return position.part < position.parts && (event.part > position.part || event.kind !== position.kind);
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
