import type { MirrorChange, StoredEntry } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import type { Etcd3, IEvent, IKeyValue, IWatchResponse } from 'etcd3';
import { toBerthError } from './errors.ts';
import { rangeOf } from './range.ts';

/** All changes of one revision; none: the store has come this far. */
export interface RevisionChanges {
  readonly revision: number;
  readonly changes: readonly MirrorChange[];
}

/** A watch that etcd has confirmed. */
export interface OpenWatch {
  /** Ends when cancelled; throws BerthError otherwise. */
  batches(): AsyncGenerator<RevisionChanges, void, undefined>;
  cancel(): void;
}

export interface WatchOptions {
  readonly prefix: string;
  /** First revision of interest. */
  readonly from: number;
  /** Cancels when it aborts. */
  readonly signal: AbortSignal;
}

/** Opens a watch with a stream of its own, and resolves once the server has confirmed it. */
export async function openWatch(client: Etcd3, options: WatchOptions): Promise<OpenWatch> {
  const { signal } = options;
  const stream = await client.watchClient.watch();
  let cancelled = false;
  const cancel = (): void => {
    if (cancelled) return;
    cancelled = true;
    signal.removeEventListener('abort', cancel);
    // Ended first: etcd3 takes the cancelling of an open stream for a failure of the host and drops its connections.
    stream.end();
    stream.cancel();
  };
  signal.addEventListener('abort', cancel, { once: true });
  // Read through the stream's own iterator, so that a slow reader slows the server down instead of filling memory.
  const messages = (stream as unknown as AsyncIterable<IWatchResponse>)[Symbol.asyncIterator]();
  const next = async (): Promise<IWatchResponse | undefined> => {
    try {
      const { done, value } = await messages.next();
      if (done && !cancelled) throw new BerthError('Unavailable', 'etcd ended the watch', { reason: 'UNREACHABLE' });
      return done || cancelled ? undefined : value;
    } catch (error) {
      if (cancelled) return undefined;
      throw toBerthError(error);
    }
  };
  stream.write({
    create_request: {
      ...rangeOf(options.prefix),
      start_revision: options.from,
      prev_kv: true,
      progress_notify: true,
      // Large revisions come in pieces below the limit of a message; `joinFragments` puts them together again.
      fragment: true,
    },
  });
  if (signal.aborted) cancel();
  try {
    const first = await next();
    if (first) refuseCanceled(first);
  } catch (error) {
    cancel();
    throw error;
  }
  return { cancel, batches: () => revisionsOf(next) };
}

async function* revisionsOf(
  next: () => Promise<IWatchResponse | undefined>,
): AsyncGenerator<RevisionChanges, void, undefined> {
  // Events of the newest revision that a fragment broke off: more of them may follow.
  let open: IEvent[] = [];
  for (let message = await next(); message; message = await next()) {
    refuseCanceled(message);
    const events = open.concat(message.events);
    open = [];
    const last = events.at(-1)?.kv.mod_revision;
    if (last === undefined) {
      yield { revision: Number(message.header.revision), changes: [] };
      continue;
    }
    for (const [revision, group] of byRevision(events)) {
      if (message.fragment && revision === last) open = group;
      else yield { revision: Number(revision), changes: group.map(changeOf).sort(byKey) };
    }
  }
}

function byRevision(events: readonly IEvent[]): Map<string, IEvent[]> {
  const groups = new Map<string, IEvent[]>();
  for (const event of events) {
    const group = groups.get(event.kv.mod_revision);
    if (group) group.push(event);
    else groups.set(event.kv.mod_revision, [event]);
  }
  return groups;
}

function refuseCanceled(message: IWatchResponse): void {
  if (!message.canceled) return;
  if (Number(message.compact_revision) > 0) throw compacted();
  const reason = message.cancel_reason;
  // An empty reason, or one that means nothing to us, is a watch to open anew.
  const error = toBerthError(new Error(reason));
  throw error instanceof BerthError
    ? error
    : new BerthError('Unavailable', `etcd cancelled the watch: ${reason}`, { reason: 'UNREACHABLE' });
}

function changeOf(event: IEvent): MirrorChange {
  const { kv, prev_kv } = event;
  // etcd reads the value before from its history when it sends the event; a compaction may have been faster.
  const isNew = event.type === 'Put' && kv.create_revision === kv.mod_revision;
  if (!prev_kv && !isNew) throw compacted();
  const previous = prev_kv ? { previous: entryOf(prev_kv) } : {};
  if (event.type === 'Put') return { kind: 'put', entry: entryOf(kv), ...previous };
  return { kind: 'delete', key: kv.key.toString(), ...previous };
}

export function entryOf(kv: IKeyValue): StoredEntry {
  return {
    key: kv.key.toString(),
    value: kv.value,
    modRevision: Number(kv.mod_revision),
    createRevision: Number(kv.create_revision),
  };
}

function byKey(a: MirrorChange, b: MirrorChange): number {
  const left = a.kind === 'put' ? a.entry.key : a.key;
  const right = b.kind === 'put' ? b.entry.key : b.key;
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

export function compacted(): BerthError {
  return new BerthError('Conflict', 'the history that the mirror needs has been compacted', { reason: 'COMPACTED' });
}
