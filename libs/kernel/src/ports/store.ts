import type { Revision } from '../revision.ts';

/** A value as it stands in the store. */
export interface StoredEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Revision of the last write. */
  readonly modRevision: number;
  /** Revision at which the key came to be. */
  readonly createRevision: number;
}

/** What must hold for a txn to commit. */
export type Compare =
  | { readonly kind: 'absent'; readonly key: string }
  | { readonly kind: 'present'; readonly key: string }
  | { readonly kind: 'unchanged'; readonly key: string; readonly modRevision: number }
  | { readonly kind: 'created-at'; readonly key: string; readonly createRevision: number };

export type StoreOp =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array; readonly lease?: StoreLease }
  | { readonly kind: 'delete'; readonly key: string };

export interface TxnRequest {
  readonly compares: readonly Compare[];
  readonly ops: readonly StoreOp[];
}

/** `committed: false` means that a compare did not hold: observe and decide again. */
export interface TxnResult {
  readonly committed: boolean;
  /** The store's revision after the txn. */
  readonly revision: number;
}

export type MirrorChange =
  | {
      readonly kind: 'put';
      readonly entry: StoredEntry;
      /** The value before; absent if the key is new. */
      readonly previous?: StoredEntry;
    }
  | { readonly kind: 'delete'; readonly key: string; readonly previous?: StoredEntry };

/** `reset` drops what the mirror holds. A `batch` holds all changes of exactly one revision (a txn is never torn), in the
 *  order of keys; one without changes says only that the store has come this far. */
export type MirrorStep =
  | { readonly kind: 'reset'; readonly revision: Revision; readonly entries: readonly StoredEntry[] }
  | { readonly kind: 'batch'; readonly revision: Revision; readonly changes: readonly MirrorChange[] };

export interface MirrorOptions {
  readonly signal: AbortSignal;
  /** Goes on after this revision without a snapshot, if the store still can; else begins with `reset`. */
  readonly since?: Revision;
}

/** Keys written under a lease vanish when it is lost. */
export interface StoreLease {
  readonly id: string;
  /** Aborts when the lease may be over: keep-alives failed for its time to live, or it was revoked. */
  readonly lost: AbortSignal;
  revoke(): Promise<void>;
}

/** Won until `lost` aborts. Every write of a leader carries `fence`, for a deposed leader may not know it yet. */
export interface Leadership {
  readonly fence: Compare;
  readonly lost: AbortSignal;
  resign(): Promise<void>;
}

export interface CampaignOptions {
  /** Time to live of the leader's lease. */
  readonly ttlMs: number;
  readonly signal: AbortSignal;
}

/**
 * The truth: a linearisable key-value store with revisions, as etcd's. Keys are `/`-separated tokens; the first is the
 * owner's name. Calls throw BerthError: Unavailable (no answer; for a write with reason OUTCOME_UNKNOWN: it may have
 * happened, or may happen still), PermissionDenied, Exhausted (quota), Conflict with reason COMPACTED.
 * Nothing is retried inside: callers are level-triggered and observe again.
 */
export interface Store {
  /** Reads `meta/epoch`. FailedPrecondition with reason NOT_BOOTSTRAPPED if there is none. */
  epoch(): Promise<string>;
  get(key: string): Promise<{ readonly entry: StoredEntry | undefined; readonly revision: number }>;
  /** All entries under a prefix at one revision, read in pages. `atRevision` reads the past: COMPACTED if it is gone. */
  list(
    prefix: string,
    options?: { readonly atRevision?: number },
  ): Promise<{ readonly entries: readonly StoredEntry[]; readonly revision: number }>;
  /** At most 128 ops and 128 compares (`packTxns` splits bigger plans), or InvalidArgument. */
  txn(request: TxnRequest): Promise<TxnResult>;
  /** Follows a prefix until the signal aborts: a snapshot at a revision, then each later revision in order and once.
   *  Survives restarts and silence of the store; resets after compaction, another epoch or a long break. */
  mirror(prefix: string, options: MirrorOptions): AsyncIterable<MirrorStep>;
  lease(ttlMs: number): Promise<StoreLease>;
  /** Waits until `candidate` leads the election at `key`; rejects with Cancelled when the signal aborts. */
  campaign(key: string, candidate: string, options: CampaignOptions): Promise<Leadership>;
}
