import type { MirrorChange, StoredEntry } from '@berth/kernel';
import type { ChangeLike } from './change.ts';

/**
 * Turns an owner's stored records into its public resources. Pure: the same steps give the same changes. It keeps what it
 * needs to do so (a TaskView joins two records; a Service counts tasks), indexed, so that a batch costs what it touches.
 * A public resource may change only at a revision whose txn touched the heads of its scopes.
 */
export interface View<C extends ChangeLike> {
  /** Replaces all it holds; returns the snapshot as changes. */
  reset(entries: readonly StoredEntry[]): readonly C[];
  /** Applies all changes of one revision; returns the public changes of that revision. */
  apply(changes: readonly MirrorChange[]): readonly C[];
  /** All public resources as changes. */
  snapshot(): readonly C[];
}
