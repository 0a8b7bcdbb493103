import type { Revision } from '@berth/kernel';

/** What every owner's generated `Change` message has in common. */
export interface ChangeLike {
  scopes: string[];
  /** Kind and id, unique with the owner: `task/<id>`. */
  key: string;
  /** The new value; absent when the resource was deleted. */
  resource?: { $case: string; value: unknown } | undefined;
}

/** One step of a mirror: `reset` with a snapshot, or the changes of one or more later revisions, in order. */
export type FeedStep<C extends ChangeLike> =
  | { readonly kind: 'reset'; readonly revision: Revision; readonly changes: readonly C[] }
  | { readonly kind: 'changes'; readonly revision: Revision; readonly changes: readonly C[] };
