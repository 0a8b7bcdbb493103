import type { KeyFamily, Store, StoredEntry, StoreOp } from '@berth/kernel';
import { isBerthError, keyFamily, metaKeys, packTxns, txnOpsMax } from '@berth/kernel';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MirrorFollower } from './mirror-follower.ts';

/** A store to test, and the hands of its administrator. */
export interface StoreUnderTest {
  readonly store: Store;
  /** Another client of the same store. */
  readonly other: Store;
  /** Forgets the history before a revision. */
  compact(revision: number): Promise<void>;
  /** Ends a lease on the store's side at once: a key written under it vanishes. */
  expireLeaseOf(key: string): Promise<void>;
  /** Waits, in the store's own time, until the condition holds. */
  until(condition: () => boolean): Promise<void>;
  /** Lets the store's own time pass. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (entry: StoredEntry | undefined): string | undefined => entry && new TextDecoder().decode(entry.value);
const put = (key: string, value: string): StoreOp => ({ kind: 'put', key, value: bytes(value) });

async function write(store: Store, ...ops: StoreOp[]): Promise<number> {
  const { committed, revision } = await store.txn({ compares: [], ops });
  expect(committed).toBe(true);
  return revision;
}

/**
 * What every Store keeps to; both implementations run it. `make` gives a bootstrapped store (`meta/epoch` is written);
 * tests use owners' prefixes of their own names, so that one real server serves all of them.
 */
export function storeContract(name: string, make: () => Promise<StoreUnderTest>): void {
  let count = 0;
  let under: StoreUnderTest;
  let store: Store;
  let owner = '';
  let followers: MirrorFollower[] = [];
  const follow = (...args: ConstructorParameters<typeof MirrorFollower>): MirrorFollower => {
    const follower = new MirrorFollower(...args);
    followers.push(follower);
    return follower;
  };
  beforeEach(async () => {
    under = await make();
    store = under.store;
    count += 1;
    owner = `owner${count}`;
  });
  afterEach(async () => {
    const ended = followers;
    followers = [];
    for (const follower of ended) await follower.stop();
    await under.close();
    for (const follower of ended) expect(follower.violations).toEqual([]);
  });

  describe(`${name}: reads and txns`, () => {
    test('a put is read back, with the revisions of its key', async () => {
      const first = await write(store, put(`${owner}/a`, '1'));
      const second = await write(store, put(`${owner}/a`, '2'));
      const { entry, revision } = await under.other.get(`${owner}/a`);
      expect(text(entry)).toBe('2');
      expect(entry).toMatchObject({ key: `${owner}/a`, createRevision: first, modRevision: second });
      expect(revision).toBeGreaterThanOrEqual(second);
      expect((await store.get(`${owner}/b`)).entry).toBeUndefined();
    });

    test('all keys of a txn share one revision, and a revision is never used twice', async () => {
      const first = await write(store, put(`${owner}/a`, '1'), put(`${owner}/b`, '1'));
      const second = await write(store, { kind: 'delete', key: `${owner}/a` }, put(`${owner}/c`, '1'));
      expect(second).toBeGreaterThan(first);
      const { entries } = await store.list(`${owner}/`);
      expect(entries.map((entry) => [entry.key, entry.modRevision])).toEqual([
        [`${owner}/b`, first],
        [`${owner}/c`, second],
      ]);
    });

    test('each compare decides', async () => {
      const key = `${owner}/a`;
      const at = await write(store, put(key, '1'));
      const commits = async (compare: Parameters<Store['txn']>[0]['compares'][number]): Promise<boolean> =>
        (await store.txn({ compares: [compare], ops: [] })).committed;
      expect(await commits({ kind: 'present', key })).toBe(true);
      expect(await commits({ kind: 'absent', key })).toBe(false);
      expect(await commits({ kind: 'absent', key: `${owner}/b` })).toBe(true);
      expect(await commits({ kind: 'present', key: `${owner}/b` })).toBe(false);
      expect(await commits({ kind: 'unchanged', key, modRevision: at })).toBe(true);
      const later = await write(store, put(key, '2'));
      expect(await commits({ kind: 'unchanged', key, modRevision: at })).toBe(false);
      expect(await commits({ kind: 'unchanged', key, modRevision: later })).toBe(true);
      expect(await commits({ kind: 'created-at', key, createRevision: at })).toBe(true);
      await write(store, { kind: 'delete', key });
      await write(store, put(key, '3'));
      expect(await commits({ kind: 'created-at', key, createRevision: at })).toBe(false);
    });

    test('a txn whose compare fails writes nothing', async () => {
      await write(store, put(`${owner}/a`, '1'));
      const result = await store.txn({
        compares: [
          { kind: 'absent', key: `${owner}/b` },
          { kind: 'absent', key: `${owner}/a` },
        ],
        ops: [put(`${owner}/b`, '1')],
      });
      expect(result.committed).toBe(false);
      expect((await store.get(`${owner}/b`)).entry).toBeUndefined();
    });

    test('128 ops commit together; 129 are refused, and so is a key written twice', async () => {
      const ops = Array.from({ length: txnOpsMax }, (_, i) => put(`${owner}/${i}`, 'x'));
      await write(store, ...ops);
      const refused = (error: unknown) => isBerthError(error, 'InvalidArgument');
      await expect(store.txn({ compares: [], ops: [...ops, put(`${owner}/more`, 'x')] })).rejects.toSatisfy(refused);
      await expect(
        store.txn({ compares: [], ops: [put(`${owner}/z`, '1'), put(`${owner}/z`, '2')] }),
      ).rejects.toSatisfy(refused);
      expect((await store.list(`${owner}/`)).entries).toHaveLength(txnOpsMax);
    });

    test('a list is sorted, whole and of one revision, however many pages it takes', async () => {
      const values = Array.from({ length: 3_000 }, (_, i) => put(`${owner}/k${String(i).padStart(5, '0')}`, `${i}`));
      for (const request of packTxns(values.map((op) => ({ compares: [], ops: [op] })))) await store.txn(request);
      await write(store, put(`${owner}x/not-mine`, 'x'));
      const { entries, revision } = await store.list(`${owner}/`);
      expect(entries.map((entry) => entry.key)).toEqual(values.map((op) => op.key));
      expect(revision).toBeGreaterThanOrEqual(Math.max(...entries.map((entry) => entry.modRevision)));
    });

    test('a list of large values is read whole', async () => {
      const large = 'x'.repeat(700_000);
      for (let i = 0; i < 12; i++) await write(store, put(`${owner}/${String.fromCharCode(97 + i)}`, large));
      const { entries } = await store.list(`${owner}/`);
      expect(entries.map((entry) => entry.value.length)).toEqual(Array.from({ length: 12 }, () => large.length));
    });

    test('the past can be read until it is compacted', async () => {
      const first = await write(store, put(`${owner}/a`, '1'), put(`${owner}/b`, '1'));
      const second = await write(store, put(`${owner}/a`, '2'), { kind: 'delete', key: `${owner}/b` });
      const past = await store.list(`${owner}/`, { atRevision: first });
      expect(past.entries.map((entry) => [entry.key, text(entry), entry.modRevision])).toEqual([
        [`${owner}/a`, '1', first],
        [`${owner}/b`, '1', first],
      ]);
      expect(past.revision).toBe(first);
      await under.compact(second);
      expect((await store.list(`${owner}/`, { atRevision: second })).entries).toHaveLength(1);
      await expect(store.list(`${owner}/`, { atRevision: first })).rejects.toSatisfy((error) =>
        isBerthError(error, 'Conflict', 'COMPACTED'),
      );
    });

    test('the epoch is what bootstrap wrote', async () => {
      expect(await store.epoch()).toBe(text((await store.get(metaKeys.epoch)).entry));
    });

    test('typed records round trip under keys whose tokens hold any name', async () => {
      interface Record {
        readonly stack: string;
        readonly service: string;
      }
      const family: KeyFamily<Record> = keyFamily({
        owner,
        kind: 'service',
        codec: {
          encode: (value) => ({ finish: () => bytes(JSON.stringify(value)) }),
          decode: (input) => JSON.parse(new TextDecoder().decode(input)),
        },
        id: (value: Record) => [value.stack, value.service],
      });
      const records = [
        { stack: 's', service: 'größe %2E *>' },
        { stack: 's', service: 'web.v2' },
        { stack: 's2/t', service: '.' },
      ];
      await write(
        store,
        ...records.map((value) => ({ kind: 'put', key: family.keyOf(value), value: family.encode(value) }) as const),
      );
      const { entries } = await store.list(family.prefix);
      expect(entries.map((entry) => family.decode(entry))).toEqual(records);
      expect(entries.every((entry) => /^[\w/%-]+$/.test(entry.key))).toBe(true);
    });
  });

  describe(`${name}: mirror`, () => {
    test('a snapshot, then each later revision in order, whole, with what was there before', async () => {
      const at = await write(store, put(`${owner}/a`, '1'), put(`${owner}/b`, '1'));
      const follower = follow(store, `${owner}/`);
      await under.until(() => follower.resets === 1);
      expect(follower.revision.revision).toBeGreaterThanOrEqual(at);
      const second = await write(under.other, put(`${owner}/c`, '1'), put(`${owner}/a`, '2'), {
        kind: 'delete',
        key: `${owner}/b`,
      });
      const third = await write(store, put(`${owner}/c`, '2'));
      await under.until(() => follower.changedRevisions.length === 2);
      expect(follower.changedRevisions).toEqual([second, third]);
      const batch = follower.steps.find((step) => step.kind === 'batch' && step.changes.length === 3);
      expect(batch).toMatchObject({
        kind: 'batch',
        revision: { epoch: await store.epoch(), revision: second },
        changes: [
          { kind: 'put', entry: { key: `${owner}/a`, createRevision: at }, previous: { modRevision: at } },
          { kind: 'delete', key: `${owner}/b`, previous: { key: `${owner}/b`, modRevision: at } },
          { kind: 'put', entry: { key: `${owner}/c`, createRevision: second } },
        ],
      });
      expect(follower.resets).toBe(1);
    });

    test('a put and a delete of one key, over and over, arrive one by one', async () => {
      const follower = follow(store, `${owner}/`);
      await under.until(() => follower.resets === 1);
      const revisions: number[] = [];
      for (let i = 0; i < 20; i++) {
        revisions.push(await write(store, put(`${owner}/a`, `${i}`)));
        revisions.push(await write(store, { kind: 'delete', key: `${owner}/a` }));
      }
      await under.until(() => follower.changedRevisions.length === 40);
      expect(follower.changedRevisions).toEqual(revisions);
    });

    test('it goes on after a revision without a snapshot', async () => {
      const epoch = await store.epoch();
      const first = await write(store, put(`${owner}/a`, '1'));
      const second = await write(store, put(`${owner}/a`, '2'));
      const third = await write(store, put(`${owner}/b`, '1'));
      const follower = follow(store, `${owner}/`, { since: { epoch, revision: first } });
      await under.until(() => follower.changedRevisions.length === 2);
      expect(follower.changedRevisions).toEqual([second, third]);
      expect(follower.resets).toBe(0);
    });

    test('it begins with a reset where the history is gone, or of another epoch, or from the future', async () => {
      const epoch = await store.epoch();
      const first = await write(store, put(`${owner}/a`, '1'));
      const second = await write(store, { kind: 'delete', key: `${owner}/a` });
      const third = await write(store, put(`${owner}/b`, '1'));
      await under.compact(second);
      const sinces = [
        { epoch, revision: first },
        { epoch: 'another', revision: third },
        { epoch, revision: third + 1_000_000 },
      ];
      for (const since of sinces) {
        const follower = follow(store, `${owner}/`, { since });
        await under.until(() => follower.resets === 1);
        expect(follower.steps[0]?.kind).toBe('reset');
        expect([...follower.entries.keys()]).toEqual([`${owner}/b`]);
        expect(follower.revision.epoch).toBe(epoch);
      }
      const late = follow(store, `${owner}/`, { since: { epoch, revision: second } });
      await under.until(() => late.changedRevisions.length === 1);
      expect(late.resets).toBe(0);
    });

    test('its revision advances with the store, also when others write', async () => {
      const follower = follow(store, `${owner}/`);
      await under.until(() => follower.resets === 1);
      const revision = await write(store, put(`${owner}x/a`, '1'));
      await under.until(() => follower.revision.revision >= revision);
      expect(follower.entries.size).toBe(0);
    });

    test('its end is the signal', async () => {
      const follower = follow(store, `${owner}/`);
      await under.until(() => follower.resets === 1);
      await follower.stop();
      const steps = follower.steps.length;
      await write(store, put(`${owner}/a`, '1'));
      expect(follower.steps).toHaveLength(steps);
      expect(follower.error).toBeUndefined();
    });
  });

  describe(`${name}: leases and leaders`, () => {
    test('keys under a lease stay while it lives, and vanish together when it is revoked', async () => {
      const lease = await store.lease(2_000);
      await write(
        store,
        ...['a', 'b'].map((k) => ({ kind: 'put', key: `${owner}/${k}`, value: bytes('x'), lease }) as const),
        put(`${owner}/c`, 'stays'),
      );
      const follower = follow(store, `${owner}/`);
      await under.until(() => follower.resets === 1);
      await under.pass(4_500);
      expect((await store.list(`${owner}/`)).entries).toHaveLength(3);
      expect(lease.lost.aborted).toBe(false);
      await lease.revoke();
      expect(lease.lost.aborted).toBe(true);
      await under.until(() => follower.changedRevisions.length === 1);
      expect([...follower.entries.keys()]).toEqual([`${owner}/c`]);
    });

    test('a lease that the store ends is lost to its holder, and writes under it fail', async () => {
      const lease = await store.lease(2_000);
      await write(store, { kind: 'put', key: `${owner}/a`, value: bytes('x'), lease });
      await under.expireLeaseOf(`${owner}/a`);
      await under.until(() => lease.lost.aborted);
      expect((await store.get(`${owner}/a`)).entry).toBeUndefined();
      await expect(
        store.txn({ compares: [], ops: [{ kind: 'put', key: `${owner}/a`, value: bytes('x'), lease }] }),
      ).rejects.toSatisfy((error) => isBerthError(error, 'FailedPrecondition', 'LEASE_LOST'));
    });

    test('one leads, the next one follows when it resigns', async () => {
      const { signal } = new AbortController();
      const key = `${owner}/leader`;
      const first = await store.campaign(key, 'first', { ttlMs: 2_000, signal });
      expect(text((await store.get(key)).entry)).toBe('first');
      const order: string[] = [];
      const next = under.other.campaign(key, 'second', { ttlMs: 2_000, signal }).then((leadership) => {
        order.push('second leads');
        return leadership;
      });
      await under.pass(3_000);
      expect(order).toEqual([]);
      expect(first.lost.aborted).toBe(false);
      await first.resign();
      expect(first.lost.aborted).toBe(true);
      await under.until(() => order.length === 1);
      const second = await next;
      expect(text((await store.get(key)).entry)).toBe('second');
      await second.resign();
    });

    test('a deposed leader is fenced: its writes do not commit', async () => {
      const { signal } = new AbortController();
      const key = `${owner}/leader`;
      const first = await store.campaign(key, 'first', { ttlMs: 2_000, signal });
      const ops = [put(`${owner}/a`, 'x')];
      expect((await store.txn({ compares: [first.fence], ops })).committed).toBe(true);
      const next = under.other.campaign(key, 'second', { ttlMs: 2_000, signal });
      await under.expireLeaseOf(key);
      let second: Awaited<typeof next> | undefined;
      void next.then((leadership) => {
        second = leadership;
      });
      await under.until(() => second !== undefined);
      expect((await store.txn({ compares: [first.fence], ops })).committed).toBe(false);
      expect((await store.txn({ compares: [(await next).fence], ops })).committed).toBe(true);
      await under.until(() => first.lost.aborted);
      await (await next).resign();
    });

    test('a campaign is called off by its signal', async () => {
      const key = `${owner}/leader`;
      const first = await store.campaign(key, 'first', { ttlMs: 2_000, signal: new AbortController().signal });
      const stop = new AbortController();
      const next = under.other.campaign(key, 'second', { ttlMs: 2_000, signal: stop.signal });
      const rejected = expect(next).rejects.toSatisfy((error) => isBerthError(error, 'Cancelled'));
      await under.pass(100);
      stop.abort();
      await rejected;
      await first.resign();
      expect((await store.get(key)).entry).toBeUndefined();
    });
  });
}
