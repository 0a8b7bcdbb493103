import type { Revision } from '@berth/kernel';

/** What every owner's generated `Change` message has in common. */
export interface ChangeLike {
  /** Scopes it belongs to; a resource's scopes never change. */
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

/** What the `Watch` RPC of every owner sends: the generated WatchResponse satisfies it. */
export interface WatchAnswer<C extends ChangeLike> {
  revision?: Revision | undefined;
  reset: boolean;
  more: boolean;
  changes: C[];
}

/** What the `Changes` RPC of every owner answers: the generated ChangesResponse satisfies it. */
export interface ScopeAnswer<C extends ChangeLike> {
  revision?: Revision | undefined;
  reset: boolean;
  changes: C[];
  head?: Revision | undefined;
}

export interface ScopeHeadLike {
  scope: string;
  revision?: Revision | undefined;
}
