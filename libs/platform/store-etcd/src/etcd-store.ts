import type {
  CampaignOptions,
  Clock,
  Compare,
  Leadership,
  Logger,
  MirrorOptions,
  MirrorStep,
  Revision,
  Rng,
  Store,
  StoredEntry,
  StoreLease,
  StoreOp,
  TxnRequest,
  TxnResult,
} from '@berth/kernel';
import { BerthError, campaignFor, isBerthError, metaKeys, txnOpsMax } from '@berth/kernel';
import type { Etcd3, ICompare, IRangeResponse, IRequestOp } from 'etcd3';
import type { EtcdClientOptions } from './client.ts';
import { callTimeoutMsDefault, createClient } from './client.ts';
import { translated } from './errors.ts';
import { EtcdAdmin } from './etcd-admin.ts';
import { grantLease } from './lease.ts';
import { mirror } from './mirror.ts';
import { after, rangeOf } from './range.ts';
import { entryOf, openWatch } from './watch.ts';

export interface EtcdStoreOptions extends EtcdClientOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly rng: Rng;
}

/** Keys of the first page of a read; halved where a page's values would not fit into a message. */
const pageKeys = 1_000;

/**
 * Connects to etcd. Nothing is sent yet: the first call tells whether etcd is there. etcd must run with
 * `--experimental-watch-progress-notify-interval 1s` (a mirror's revision advances by it) and
 * `--grpc-keepalive-min-time` of at most 1 s (a client that pings more often than etcd allows is cut off).
 */
export function connectEtcd(options: EtcdStoreOptions): EtcdStore {
  return new EtcdStore(options);
}

/** The kernel's Store over etcd. */
export class EtcdStore implements Store {
  /** For bootstrap and tests. */
  readonly admin: EtcdAdmin;
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #logger: Logger;
  readonly #callTimeoutMs: number;
  readonly #endRenewal: () => void;
  #client: Etcd3;
  /** Clients with an earlier certificate. */
  readonly #retired: Etcd3[] = [];

  constructor(options: EtcdStoreOptions) {
    const { tls } = options;
    this.#client = createClient(options);
    this.admin = new EtcdAdmin(() => this.#client);
    this.#clock = options.clock;
    this.#rng = options.rng;
    this.#logger = options.logger;
    this.#callTimeoutMs = options.callTimeoutMs ?? callTimeoutMsDefault;
    this.#endRenewal = tls && 'current' in tls ? tls.onChange(() => this.#renew(options)) : () => undefined;
  }

  /** Ends all connections. Mirrors, campaigns and leases must have ended before. */
  close(): void {
    this.#endRenewal();
    for (const client of [this.#client, ...this.#retired]) client.close();
  }

  /** The vendor's client keeps its first certificate for good, so a renewed one needs a new client. The one before is not
   *  closed, for that would cut what is under way: its streams go on until they break and are opened anew by the new
   *  client; without calls it lets go of its connection. One more every few weeks is no burden. */
  #renew(options: EtcdStoreOptions): void {
    this.#retired.push(this.#client);
    this.#client = createClient(options);
  }

  async epoch(): Promise<string> {
    return (await this.#readEpoch()).epoch;
  }

  async get(key: string): Promise<{ readonly entry: StoredEntry | undefined; readonly revision: number }> {
    const answer = await translated(this.#client.kv.range({ key: Buffer.from(key) }));
    const [kv] = answer.kvs;
    return { entry: kv && entryOf(kv), revision: Number(answer.header.revision) };
  }

  async list(
    prefix: string,
    options: { readonly atRevision?: number } = {},
  ): Promise<{ readonly entries: readonly StoredEntry[]; readonly revision: number }> {
    const range = rangeOf(prefix);
    const entries: StoredEntry[] = [];
    let { key } = range;
    let revision = options.atRevision;
    let limit = pageKeys;
    for (;;) {
      let page: IRangeResponse;
      try {
        page = await translated(this.#client.kv.range({ ...range, key, limit, revision: revision ?? 0 }));
      } catch (error) {
        if (!isBerthError(error, 'Exhausted', 'MESSAGE_TOO_LARGE') || limit === 1) throw error;
        limit = Math.ceil(limit / 4);
        continue;
      }
      // All pages are read at the first one's revision.
      revision ??= Number(page.header.revision);
      for (const kv of page.kvs) entries.push(entryOf(kv));
      const last = page.kvs.at(-1);
      if (!page.more || !last) return { entries, revision };
      key = after(last.key);
    }
  }

  async txn(request: TxnRequest): Promise<TxnResult> {
    const { compares, ops } = request;
    if (ops.length > txnOpsMax || compares.length > txnOpsMax) {
      throw new BerthError(
        'InvalidArgument',
        `a txn of ${ops.length} ops and ${compares.length} compares is too large`,
        { reason: 'TXN_TOO_LARGE' },
      );
    }
    const answer = await translated(
      this.#client.kv.txn({ compare: compares.map(encodeCompare), success: ops.map(encodeOp) }),
      { write: ops.length > 0 },
    );
    return { committed: answer.succeeded, revision: Number(answer.header.revision) };
  }

  mirror(prefix: string, options: MirrorOptions): AsyncIterable<MirrorStep> {
    return mirror(
      {
        clock: this.#clock,
        logger: this.#logger,
        rng: this.#rng,
        callTimeoutMs: this.#callTimeoutMs,
        readEpoch: () => this.#readEpoch(),
        list: (each) => this.list(each),
        checkHistory: (each, revision) => this.#checkHistory(each, revision),
        openWatch: (each, from, signal) => translated(openWatch(this.#client, { prefix: each, from, signal })),
      },
      prefix,
      options,
    );
  }

  lease(ttlMs: number): Promise<StoreLease> {
    return grantLease({ client: () => this.#client, clock: this.#clock, logger: this.#logger }, ttlMs);
  }

  campaign(key: string, candidate: string, options: CampaignOptions): Promise<Leadership> {
    return campaignFor(this, this.#clock, key, candidate, options);
  }

  async #readEpoch(): Promise<Revision> {
    const { entry, revision } = await this.get(metaKeys.epoch);
    if (entry) return { epoch: new TextDecoder().decode(entry.value), revision };
    throw new BerthError('FailedPrecondition', `etcd has no ${metaKeys.epoch}`, { reason: 'NOT_BOOTSTRAPPED' });
  }

  async #checkHistory(prefix: string, revision: number): Promise<void> {
    // A watch is refused only from before the compacted revision; at it, etcd has lost the deletions already.
    await translated(
      this.#client.kv.range({ ...rangeOf(prefix), limit: 1, keys_only: true, revision: Math.max(1, revision) }),
    );
  }
}

function encodeCompare(compare: Compare): ICompare {
  const key = Buffer.from(compare.key);
  switch (compare.kind) {
    case 'absent':
      return { key, target: 'Create', result: 'Equal', create_revision: 0 };
    case 'present':
      return { key, target: 'Create', result: 'Greater', create_revision: 0 };
    case 'unchanged':
      return { key, target: 'Mod', result: 'Equal', mod_revision: compare.modRevision };
    case 'created-at':
      return { key, target: 'Create', result: 'Equal', create_revision: compare.createRevision };
  }
}

function encodeOp(op: StoreOp): IRequestOp {
  const key = Buffer.from(op.key);
  if (op.kind === 'delete') return { request_delete_range: { key } };
  return { request_put: { key, value: Buffer.from(op.value), ...(op.lease ? { lease: op.lease.id } : {}) } };
}
