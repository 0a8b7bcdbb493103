import { MemoryLogger, MemoryStore, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { ReplicaKeys } from './replica-keys.ts';

const ends: AbortController[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end.abort();
});

function setUp() {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  const replica = () => {
    const end = new AbortController();
    ends.push(end);
    const keys = new ReplicaKeys({ store, clock, log: new MemoryLogger(), ttlMs: 5_000 });
    const done = keys.run(end.signal);
    return { keys, stop: () => end.abort(), done };
  };
  const read = async (key: string) => {
    const { entry } = await store.get(key);
    return entry && new TextDecoder().decode(entry.value);
  };
  return { clock, store, replica, read };
}
const bytes = (text: string) => new TextEncoder().encode(text);
const takeOver = { takeOver: true };
const ownOnly = { takeOver: false };

describe('ReplicaKeys', () => {
  it('writes what is wanted, many keys in few revisions, and the last value of each', async () => {
    const { clock, store, replica, read } = setUp();
    const { keys } = replica();
    await clock.advance(10);
    const before = store.revision;
    for (let i = 0; i < 200; i++) keys.set(`r/k${i}`, bytes('old'), takeOver);
    for (let i = 0; i < 200; i++) keys.set(`r/k${i}`, bytes('new'), takeOver);
    await clock.advance(10);
    expect(await read('r/k199')).toBe('new');
    expect(store.revision - before).toBeLessThanOrEqual(4);
  });

  it('an older replica does not write over a newer one’s key unless it takes over', async () => {
    const { clock, replica, read } = setUp();
    const a = replica();
    const b = replica();
    a.keys.set('r/k', bytes('a alive'), takeOver);
    a.keys.set('r/other', bytes('a'), takeOver);
    await clock.advance(10);
    b.keys.set('r/k', bytes('b alive'), takeOver);
    await clock.advance(10);
    a.keys.set('r/k', bytes('a ended'), ownOnly);
    a.keys.set('r/other', bytes('a ended'), ownOnly);
    await clock.advance(10);
    expect(await read('r/k')).toBe('b alive');
    expect(await read('r/other')).toBe('a ended');
    b.keys.set('r/k', bytes('b ended'), ownOnly);
    await clock.advance(10);
    expect(await read('r/k')).toBe('b ended');
  });

  it('says nothing of what was over before the store ever heard of it: another replica may have it since', async () => {
    const { clock, store, replica, read } = setUp();
    const a = replica();
    await clock.advance(10);
    store.setAvailable(false);
    a.keys.set('r/k', bytes('a alive'), takeOver);
    await clock.advance(1_000);
    a.keys.set('r/k', bytes('a ended'), ownOnly);
    store.setAvailable(true);
    const b = replica();
    b.keys.set('r/k', bytes('b alive'), takeOver);
    await clock.advance(100);
    expect(await read('r/k')).toBe('b alive');
    await clock.advance(30_000);
    expect(await read('r/k')).toBe('b alive');
    a.keys.set('r/k', bytes('a alive'), takeOver);
    await clock.advance(100);
    expect(await read('r/k')).toBe('a alive');
  });

  it('takes back what is being written while it ends', async () => {
    const { clock, replica, read } = setUp();
    const { keys } = replica();
    await clock.advance(10);
    keys.set('r/k', bytes('alive'), takeOver);
    await Promise.resolve();
    keys.set('r/k', bytes('ended'), ownOnly);
    await clock.advance(100);
    expect([undefined, 'ended']).toContain(await read('r/k'));
  });

  it('writes again what still holds when its lease was lost, and not what is over', async () => {
    const { clock, store, replica, read } = setUp();
    const { keys } = replica();
    keys.set('r/alive', bytes('x'), takeOver);
    keys.set('r/ended', bytes('x'), takeOver);
    await clock.advance(10);
    keys.set('r/ended', bytes('over'), ownOnly);
    await clock.advance(10);
    const lease = store.leaseOf('r/alive');
    expect(lease).toBeDefined();
    if (lease) store.expire(lease);
    await clock.advance(2_000);
    expect(await read('r/alive')).toBe('x');
    expect(await read('r/ended')).toBeUndefined();
  });

  it('writes again after the store was away, and gives everything back when it stops', async () => {
    const { clock, store, replica, read } = setUp();
    const { keys, stop, done } = replica();
    keys.set('r/k', bytes('1'), takeOver);
    await clock.advance(10);
    store.setAvailable(false);
    keys.set('r/k', bytes('2'), takeOver);
    await clock.advance(20_000);
    store.setAvailable(true);
    await clock.advance(5_000);
    expect(await read('r/k')).toBe('2');
    stop();
    await clock.advance(100);
    await done;
    expect(await read('r/k')).toBeUndefined();
  });
});
