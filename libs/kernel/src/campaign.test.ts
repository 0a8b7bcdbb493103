import { expect, test } from 'vitest';
import { campaignFor } from './campaign.ts';
import type { ErrorCode } from './errors.ts';
import { BerthError, isBerthError } from './errors.ts';
import type { Clock } from './ports/clock.ts';
import type { Store, StoreLease, TxnRequest } from './ports/store.ts';

const clock: Clock = {
  monotonic: () => 0,
  wall: () => 0,
  sleep: () => Promise.resolve(),
  timer: () => () => undefined,
};

/** A store whose election is free, and whose txns fail in turn before one commits. */
class FailingStore implements Pick<Store, 'get' | 'txn' | 'lease'> {
  readonly leases: string[] = [];
  readonly revoked: string[] = [];
  readonly #failures: (readonly [ErrorCode, string])[];

  constructor(...failures: (readonly [ErrorCode, string])[]) {
    this.#failures = failures;
  }

  async get() {
    return { entry: undefined, revision: 1 };
  }

  async lease(): Promise<StoreLease> {
    const id = `${this.leases.length + 1}`;
    this.leases.push(id);
    const revoke = async (): Promise<void> => {
      this.revoked.push(id);
    };
    return { id, lost: new AbortController().signal, revoke };
  }

  async txn({ ops: [op] }: TxnRequest) {
    const failure = this.#failures.shift();
    if (failure) throw new BerthError(failure[0], 'no', { reason: failure[1] });
    if (op?.kind !== 'put') throw new Error('the election key is put');
    return { committed: true, revision: 7 };
  }
}

const options = { ttlMs: 1_000, signal: new AbortController().signal };

test('an attempt of unknown outcome is given up with its lease, and another one made under a new lease', async () => {
  const store = new FailingStore(
    ['Unavailable', 'OUTCOME_UNKNOWN'],
    ['FailedPrecondition', 'LEASE_LOST'],
    ['Exhausted', 'STORE_FULL'],
  );
  const leadership = await campaignFor(store as unknown as Store, clock, 'a/leader', 'me', options);
  expect(leadership.fence).toEqual({ kind: 'created-at', key: 'a/leader', createRevision: 7 });
  expect(store.leases).toEqual(['1', '2', '3', '4']);
  expect(store.revoked).toEqual(['1', '2', '3']);
  await leadership.resign();
  expect(store.revoked).toEqual(['1', '2', '3', '4']);
});

test('what will not pass ends the campaign', async () => {
  const store = new FailingStore(['PermissionDenied', '']);
  await expect(campaignFor(store as unknown as Store, clock, 'a/leader', 'me', options)).rejects.toSatisfy((error) =>
    isBerthError(error, 'PermissionDenied'),
  );
  expect(store.revoked).toEqual(['1']);
});
