import { BerthError, isBerthError, isPassing } from './errors.ts';
import type { Clock } from './ports/clock.ts';
import type { CampaignOptions, Leadership, Store, StoreLease } from './ports/store.ts';

/** Pause after a campaign met a store that does not answer. */
const retryMs = 500;

/**
 * The election of every store: who creates the key leads, until the key's lease is over. The key's create revision names
 * the reign, so a write that compares it (`fence`) fails once another one leads, whatever the writer believes.
 */
export async function campaignFor(
  store: Store,
  clock: Clock,
  key: string,
  candidate: string,
  options: CampaignOptions,
): Promise<Leadership> {
  const { signal, ttlMs } = options;
  while (!signal.aborted) {
    try {
      await untilAbsent(store, key, signal);
      if (signal.aborted) break;
      const won = await attempt(store, key, candidate, ttlMs);
      if (won && signal.aborted) await won.resign();
      else if (won) return won;
    } catch (error) {
      // Nobody answers, or too late, or the store is full: the candidate goes on trying, as it would wait for another
      // leader's end.
      if (!isPassing(error) && !isBerthError(error, 'FailedPrecondition', 'LEASE_LOST')) throw error;
      await clock.sleep(retryMs, signal);
    }
  }
  throw new BerthError('Cancelled', `the campaign for ${key} was called off`);
}

async function attempt(store: Store, key: string, candidate: string, ttlMs: number): Promise<Leadership | undefined> {
  const lease = await store.lease(ttlMs);
  try {
    const { committed, revision } = await store.txn({
      compares: [{ kind: 'absent', key }],
      ops: [{ kind: 'put', key, value: new TextEncoder().encode(candidate), lease }],
    });
    if (committed) {
      return {
        fence: { kind: 'created-at', key, createRevision: revision },
        lost: lease.lost,
        resign: () => giveUp(lease),
      };
    }
  } catch (error) {
    // The key may have been written, or may be written still: without its lease it can't stay.
    await giveUp(lease);
    throw error;
  }
  await giveUp(lease);
  return undefined;
}

/** Revokes, or lets the lease run out by itself where the store does not answer. */
async function giveUp(lease: StoreLease): Promise<void> {
  try {
    await lease.revoke();
  } catch (error) {
    if (!isBerthError(error, 'Unavailable')) throw error;
  }
}

async function untilAbsent(store: Store, key: string, signal: AbortSignal): Promise<void> {
  const { entry } = await store.get(key);
  if (entry === undefined) return;
  for await (const step of store.mirror(key, { signal })) {
    if (step.kind === 'reset' && !step.entries.some((each) => each.key === key)) return;
    if (step.kind === 'batch' && step.changes.some((each) => each.kind === 'delete' && each.key === key)) return;
  }
}
