import type {
  CampaignOptions,
  Clock,
  Compare,
  Leadership,
  MirrorChange,
  MirrorOptions,
  MirrorStep,
  Store,
  StoredEntry,
  StoreLease,
  StoreOp,
  TxnRequest,
  TxnResult,
} from '@berth/kernel';
import { BerthError, campaignFor, metaKeys, txnOpsMax } from '@berth/kernel';
import type { MemoryLease } from './memory-lease.ts';
import { createLease } from './memory-lease.ts';

export interface MemoryStoreOptions {
  readonly clock: Clock;
  /** Value of `meta/epoch`. Default "epoch-1"; undefined means a store that was never bootstrapped. */
  readonly epoch?: string | undefined;
}

/** All changes of one revision. */
interface HistoryRecord {
  readonly revision: number;
  readonly changes: readonly MirrorChange[];
}

/**
 * A store with etcd's semantics: one revision over all keys, txns with compares, leases, history until it is compacted.
 * Faults for tests: `setAvailable`, `compact`, `restore`, `expire`.
 */
export class MemoryStore implements Store {
  readonly #clock: Clock;
  #entries = new Map<string, StoredEntry>();
  /** Records after the compacted revision, one per revision. */
  #history: HistoryRecord[] = [];
  #revision = 1;
  #compacted = 0;
  #available = true;
  #full = false;
  readonly #leaseOf = new Map<string, MemoryLease>();
  readonly #listeners = new Set<() => void>();
  readonly #leases = new Set<MemoryLease>();
  #leaseCount = 0;

  constructor(options: MemoryStoreOptions) {
    this.#clock = options.clock;
    const epoch = 'epoch' in options ? options.epoch : 'epoch-1';
    if (epoch !== undefined) this.#write(epochWrite(epoch));
  }

  get revision(): number {
    return this.#revision;
  }

  async epoch(): Promise<string> {
    this.#needAvailable();
    return this.#epoch();
  }

  async get(key: string): Promise<{ readonly entry: StoredEntry | undefined; readonly revision: number }> {
    this.#needAvailable();
    return { entry: this.#entries.get(key), revision: this.#revision };
  }

  async list(
    prefix: string,
    options: { readonly atRevision?: number } = {},
  ): Promise<{ readonly entries: readonly StoredEntry[]; readonly revision: number }> {
    this.#needAvailable();
    const { atRevision = this.#revision } = options;
    return { entries: select(this.#stateAt(atRevision), prefix), revision: atRevision };
  }

  async txn(request: TxnRequest): Promise<TxnResult> {
    this.#needAvailable();
    checkTxn(request);
    if (!request.compares.every((compare) => this.#holds(compare))) {
      return { committed: false, revision: this.#revision };
    }
    if (request.ops.some(({ kind }) => kind === 'put')) this.#needSpace();
    for (const op of request.ops) {
      if (op.kind === 'put' && op.lease && !this.#isAlive(op.lease)) {
        throw new BerthError('FailedPrecondition', `lease ${op.lease.id} is over`, { reason: 'LEASE_LOST' });
      }
    }
    this.#write(request.ops);
    return { committed: true, revision: this.#revision };
  }

  async *mirror(prefix: string, options: MirrorOptions): AsyncGenerator<MirrorStep, void, undefined> {
    const { signal } = options;
    let held = options.since;
    // Who left before the outage and the restart is as good as who stayed: all follow the history by a cursor.
    while (!signal.aborted) {
      if (!this.#available) {
        await this.#changed(signal);
        continue;
      }
      const epoch = this.#epoch();
      if (held?.epoch !== epoch || held.revision < this.#compacted || held.revision > this.#revision) {
        held = { epoch, revision: this.#revision };
        yield { kind: 'reset', revision: held, entries: select(this.#entries, prefix) };
        continue;
      }
      if (held.revision === this.#revision) {
        await this.#changed(signal);
        continue;
      }
      const record = this.#nextFor(prefix, held.revision);
      held = { epoch, revision: record.revision };
      yield { kind: 'batch', revision: held, changes: record.changes };
    }
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    this.#needAvailable();
    this.#needSpace();
    this.#leaseCount += 1;
    const lease = createLease({
      id: `${this.#leaseCount}`,
      ttlMs,
      clock: this.#clock,
      reachable: () => this.#available,
      onEnd: () => this.#endLease(lease),
    });
    this.#leases.add(lease);
    return lease;
  }

  campaign(key: string, candidate: string, options: CampaignOptions): Promise<Leadership> {
    return campaignFor(this, this.#clock, key, candidate, options);
  }

  /** While false, calls throw Unavailable, mirrors are silent and leases run out. */
  setAvailable(available: boolean): void {
    this.#available = available;
    this.#notify();
  }

  /** While true, puts and new leases throw Exhausted, as with an etcd that has reached its quota. */
  setFull(full: boolean): void {
    this.#full = full;
  }

  /** Forgets the history before a revision (default: now), as etcd's compaction does. */
  compact(revision = this.#revision): void {
    this.#compacted = Math.max(this.#compacted, Math.min(revision, this.#revision));
    this.#history = this.#history.filter((record) => record.revision > this.#compacted);
    this.#notify();
  }

  /** Becomes a store restored from a backup: the given entries (default: those it has), a new epoch, no history. */
  restore(epoch: string, entries: ReadonlyMap<string, Uint8Array> = this.#values()): void {
    this.#entries = new Map();
    this.#history = [];
    this.#revision = 1;
    this.#compacted = 0;
    this.#write([...[...entries].map(([key, value]) => ({ kind: 'put', key, value }) as const), ...epochWrite(epoch)]);
  }

  /** Ends a lease on the store's side: its keys vanish. `silently`: its holder is not told yet. */
  expire(lease: StoreLease, options: { readonly silently?: boolean } = {}): void {
    const held = [...this.#leases].find((each) => each.id === lease.id);
    if (!held) return;
    if (options.silently) this.#endLease(held);
    else held.end();
  }

  /** The lease under which a key was written, for `expire`. */
  leaseOf(key: string): StoreLease | undefined {
    return this.#leaseOf.get(key);
  }

  #needAvailable(): void {
    if (!this.#available) throw new BerthError('Unavailable', 'the store does not answer', { reason: 'UNREACHABLE' });
  }

  #needSpace(): void {
    if (this.#full) throw new BerthError('Exhausted', 'the store is full', { reason: 'STORE_FULL' });
  }

  #epoch(): string {
    const entry = this.#entries.get(metaKeys.epoch);
    if (entry) return new TextDecoder().decode(entry.value);
    throw new BerthError('FailedPrecondition', `the store has no ${metaKeys.epoch}`, { reason: 'NOT_BOOTSTRAPPED' });
  }

  #isAlive(lease: StoreLease): boolean {
    return [...this.#leases].some((each) => each.id === lease.id);
  }

  #holds(compare: Compare): boolean {
    const entry = this.#entries.get(compare.key);
    switch (compare.kind) {
      case 'absent':
        return entry === undefined;
      case 'present':
        return entry !== undefined;
      case 'unchanged':
        return entry?.modRevision === compare.modRevision;
      case 'created-at':
        return entry?.createRevision === compare.createRevision;
    }
  }

  /** Applies ops at one new revision. Ops that change nothing take no revision, as in etcd. */
  #write(ops: readonly StoreOp[]): void {
    const revision = this.#revision + 1;
    const changes: MirrorChange[] = [];
    for (const op of [...ops].sort((a, b) => order(a.key, b.key))) {
      const previous = this.#entries.get(op.key);
      const before = previous ? { previous } : {};
      if (op.kind === 'put') {
        const createRevision = previous?.createRevision ?? revision;
        const entry: StoredEntry = { key: op.key, value: op.value.slice(), modRevision: revision, createRevision };
        this.#entries.set(op.key, entry);
        changes.push({ kind: 'put', entry, ...before });
        this.#attach(op.key, op.lease);
      } else if (previous) {
        this.#entries.delete(op.key);
        changes.push({ kind: 'delete', key: op.key, ...before });
        this.#attach(op.key, undefined);
      }
    }
    if (changes.length === 0) return;
    this.#revision = revision;
    this.#history.push({ revision, changes });
    this.#notify();
  }

  #attach(key: string, lease: StoreLease | undefined): void {
    const held = lease && [...this.#leases].find((each) => each.id === lease.id);
    if (held) this.#leaseOf.set(key, held);
    else this.#leaseOf.delete(key);
  }

  #endLease(lease: MemoryLease): void {
    this.#leases.delete(lease);
    const keys = [...this.#leaseOf].filter(([, each]) => each === lease).map(([key]) => key);
    this.#write(keys.map((key) => ({ kind: 'delete', key })));
  }

  #stateAt(revision: number): ReadonlyMap<string, StoredEntry> {
    if (revision > this.#revision) {
      throw new BerthError('Unavailable', `revision ${revision} is not reached yet`, { reason: 'FUTURE_REVISION' });
    }
    if (revision < this.#compacted) throw compactedError(revision);
    if (revision === this.#revision) return this.#entries;
    const state = new Map(this.#entries);
    for (const record of this.#history.toReversed()) {
      if (record.revision <= revision) break;
      for (const change of record.changes) {
        if (change.previous) state.set(change.previous.key, change.previous);
        else state.delete(keyOf(change));
      }
    }
    return state;
  }

  /** The next revision after `held` that changed the prefix; or where the store stands, if none did. */
  #nextFor(prefix: string, held: number): HistoryRecord {
    // The history holds one record per revision, up to the newest.
    const first = Math.max(0, this.#history.length - (this.#revision - held));
    for (const record of this.#history.slice(first)) {
      const changes = record.changes.filter((change) => keyOf(change).startsWith(prefix));
      if (changes.length > 0) return { revision: record.revision, changes };
    }
    return { revision: this.#revision, changes: [] };
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#listeners.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#listeners.add(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  #values(): Map<string, Uint8Array> {
    return new Map([...this.#entries.values()].map((entry) => [entry.key, entry.value]));
  }
}

function epochWrite(epoch: string): StoreOp[] {
  return [{ kind: 'put', key: metaKeys.epoch, value: new TextEncoder().encode(epoch) }];
}

function checkTxn({ compares, ops }: TxnRequest): void {
  if (ops.length > txnOpsMax || compares.length > txnOpsMax) {
    throw new BerthError('InvalidArgument', `a txn of ${ops.length} ops and ${compares.length} compares is too large`, {
      reason: 'TXN_TOO_LARGE',
    });
  }
  if (new Set(ops.map((op) => op.key)).size < ops.length) {
    throw new BerthError('InvalidArgument', 'a txn writes each key once', { reason: 'DUPLICATE_KEY' });
  }
}

function compactedError(revision: number): BerthError {
  return new BerthError('Conflict', `revision ${revision} has been compacted`, { reason: 'COMPACTED' });
}

function keyOf(change: MirrorChange): string {
  return change.kind === 'put' ? change.entry.key : change.key;
}

function select(entries: ReadonlyMap<string, StoredEntry>, prefix: string): StoredEntry[] {
  return [...entries.values()].filter((entry) => entry.key.startsWith(prefix)).sort((a, b) => order(a.key, b.key));
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
