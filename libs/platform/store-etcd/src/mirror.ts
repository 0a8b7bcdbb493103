import type { Clock, Logger, MirrorOptions, MirrorStep, Revision, Rng, StoredEntry } from '@berth/kernel';
import { BerthError, isBerthError } from '@berth/kernel';
import type { OpenWatch } from './watch.ts';

/** What a mirror needs of the store. */
export interface MirrorSource {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Longest wait for a watch to be confirmed. */
  readonly callTimeoutMs: number;
  /** `meta/epoch`, and the store's revision when it was read. */
  readEpoch(): Promise<Revision>;
  list(prefix: string): Promise<{ readonly entries: readonly StoredEntry[]; readonly revision: number }>;
  /** Throws COMPACTED if the store can't tell any more what came after a revision. */
  checkHistory(prefix: string, after: number): Promise<void>;
  openWatch(prefix: string, from: number, signal: AbortSignal): Promise<OpenWatch>;
}

const pauseMs = { first: 100, most: 2_000 };

/** `Store.mirror`: sessions of one watch each, resumed after every break until the signal aborts. */
export async function* mirror(
  source: MirrorSource,
  prefix: string,
  options: MirrorOptions,
): AsyncGenerator<MirrorStep, void, undefined> {
  const { signal } = options;
  let held = options.since;
  let failures = 0;
  while (!signal.aborted) {
    try {
      for await (const step of session(source, prefix, held, signal)) {
        held = step.revision;
        failures = 0;
        yield step;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isBerthError(error, 'Conflict', 'COMPACTED')) {
        source.logger.warn({ prefix, held }, 'mirror: history is gone, reading all again');
        held = undefined;
      } else if (isBerthError(error, 'Unavailable') || isBeingRestored(error, held)) {
        failures += 1;
        const level = failures === 1 ? 'warn' : 'debug';
        source.logger[level]({ prefix, held, err: error }, 'mirror: no connection to the store, trying again');
        const pause = Math.min(pauseMs.first * 2 ** (failures - 1), pauseMs.most);
        await source.clock.sleep(pause * (0.8 + 0.4 * source.rng.next()), signal);
      } else throw error;
    }
  }
}

/** A store that had an epoch gets one again. */
function isBeingRestored(error: unknown, held: Revision | undefined): boolean {
  return held !== undefined && isBerthError(error, 'FailedPrecondition', 'NOT_BOOTSTRAPPED');
}

async function* session(
  source: MirrorSource,
  prefix: string,
  held: Revision | undefined,
  signal: AbortSignal,
): AsyncGenerator<MirrorStep, void, undefined> {
  const snapshot = held ? undefined : await readSnapshot(source, prefix);
  const start = held ?? snapshot?.revision;
  if (!start) return;
  const watch = await confirmed(source, prefix, start.revision + 1, signal);
  try {
    // Only now is it certain which store the watch speaks to: a watch from a revision that the store has not reached
    // waits without a word, and a restored store may pass that revision later, with other contents.
    const now = await source.readEpoch();
    if (now.epoch !== start.epoch || now.revision < start.revision) {
      throw new BerthError('Conflict', `epoch ${start.epoch} became ${now.epoch}`, { reason: 'COMPACTED' });
    }
    if (snapshot) yield { kind: 'reset', ...snapshot };
    else await source.checkHistory(prefix, start.revision);
    let revision = start.revision;
    for await (const batch of watch.batches()) {
      // News of no changes may repeat what is known.
      if (batch.revision <= revision) continue;
      revision = batch.revision;
      yield { kind: 'batch', revision: { epoch: start.epoch, revision }, changes: batch.changes };
    }
  } finally {
    watch.cancel();
  }
}

async function readSnapshot(
  source: MirrorSource,
  prefix: string,
): Promise<{ readonly revision: Revision; readonly entries: readonly StoredEntry[] }> {
  const { epoch } = await source.readEpoch();
  const { entries, revision } = await source.list(prefix);
  return { revision: { epoch, revision }, entries };
}

/** Opens a watch; a server that does not confirm it in time counts as silent. */
async function confirmed(source: MirrorSource, prefix: string, from: number, signal: AbortSignal): Promise<OpenWatch> {
  const timeout = new AbortController();
  const cancelTimer = source.clock.timer(source.callTimeoutMs, () => timeout.abort());
  try {
    const watch = await source.openWatch(prefix, from, AbortSignal.any([signal, timeout.signal]));
    if (timeout.signal.aborted) {
      throw new BerthError('Unavailable', 'etcd did not confirm the watch', { reason: 'UNREACHABLE' });
    }
    return watch;
  } finally {
    cancelTimer();
  }
}
