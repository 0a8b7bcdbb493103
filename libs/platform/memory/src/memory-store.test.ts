import { isBerthError } from '@berth/kernel';
import { MirrorFollower, storeContract } from '@berth/testing-suites';
import { expect, test } from 'vitest';
import { MemoryStore } from './memory-store.ts';
import { settle, VirtualClock } from './virtual-clock.ts';

storeContract('MemoryStore', async () => {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  return {
    store,
    other: store,
    compact: async (revision) => store.compact(revision),
    expireLeaseOf: async (key) => {
      const lease = store.leaseOf(key);
      if (!lease) throw new Error(`no lease on ${key}`);
      store.expire(lease);
    },
    until: (condition) => clock.advanceUntil(condition),
    pass: (ms) => clock.advance(ms),
    close: async () => undefined,
  };
});

const put = (key: string) => ({ kind: 'put', key, value: new Uint8Array() }) as const;

test('while it is away calls fail, leases run out, and a mirror goes on where it was', async () => {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  const follower = new MirrorFollower(store, 'a/');
  const lease = await store.lease(3_000);
  await store.txn({ compares: [], ops: [{ ...put('a/1'), lease }] });
  await settle();
  store.setAvailable(false);
  await expect(store.get('a/1')).rejects.toSatisfy((error) => isBerthError(error, 'Unavailable'));
  await clock.advance(4_000);
  expect(lease.lost.aborted).toBe(true);
  expect(follower.entries.size).toBe(1);
  store.setAvailable(true);
  await settle();
  expect(follower).toMatchObject({ resets: 1, violations: [] });
  expect(follower.entries.size).toBe(0);
  await follower.stop();
});

test('a restored store has another epoch, and resets its mirrors', async () => {
  const store = new MemoryStore({ clock: new VirtualClock() });
  for (let i = 0; i < 5; i++) await store.txn({ compares: [], ops: [put('a/1')] });
  const follower = new MirrorFollower(store, 'a/');
  await settle();
  store.restore('epoch-2', new Map([['a/2', new Uint8Array()]]));
  await settle();
  expect(follower).toMatchObject({ resets: 2, violations: [], revision: { epoch: 'epoch-2', revision: 2 } });
  expect([...follower.entries.keys()]).toEqual(['a/2']);
  await follower.stop();
});

test('a store that was never bootstrapped has no epoch', async () => {
  const store = new MemoryStore({ clock: new VirtualClock(), epoch: undefined });
  const rejected = (error: unknown) => isBerthError(error, 'FailedPrecondition', 'NOT_BOOTSTRAPPED');
  await expect(store.epoch()).rejects.toSatisfy(rejected);
  const follower = new MirrorFollower(store, 'a/');
  await follower.done;
  expect(follower.error).toSatisfy(rejected);
});
