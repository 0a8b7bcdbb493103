import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect as connectTo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoreOp } from '@berth/kernel';
import { isBerthError, metaKeys } from '@berth/kernel';
import { MemoryLogger, SeededRng } from '@berth/memory';
import type { EtcdServer } from '@berth/testing-hosts';
import { startEtcd } from '@berth/testing-hosts';
import { eventually, MirrorFollower, realClock } from '@berth/testing-suites';
import { afterEach, expect, test } from 'vitest';
import type { EtcdStore } from './etcd-store.ts';
import { connectEtcd } from './etcd-store.ts';

const toEnd: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of toEnd.splice(0).reverse()) await end();
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (key: string, value: string): StoreOp => ({ kind: 'put', key, value: bytes(value) });

async function start(options: Parameters<typeof startEtcd>[0] = {}): Promise<EtcdServer> {
  const etcd = await startEtcd(options);
  toEnd.push(() => etcd.stop());
  return etcd;
}

function connect(etcd: Pick<EtcdServer, 'endpoint'>, logger = new MemoryLogger()): EtcdStore {
  const store = connectEtcd({
    endpoints: [etcd.endpoint],
    clock: realClock,
    rng: new SeededRng(1),
    logger,
    callTimeoutMs: 2_000,
  });
  toEnd.push(async () => store.close());
  return store;
}

function follow(...args: ConstructorParameters<typeof MirrorFollower>): MirrorFollower {
  const follower = new MirrorFollower(...args);
  toEnd.push(() => follower.stop());
  return follower;
}

const setEpoch = (store: EtcdStore, epoch: string) => store.txn({ compares: [], ops: [put(metaKeys.epoch, epoch)] });

/** Writes and deletes at random until told to stop; what fails is not repeated. Counts what was acknowledged. */
function writer(store: EtcdStore, seed: number): { stop(): Promise<number> } {
  const rng = new SeededRng(seed);
  let running = true;
  let written = 0;
  const loop = async (): Promise<number> => {
    while (running) {
      const ops = new Map<string, StoreOp>();
      const size = 1 + Math.floor(rng.next() * 20);
      for (let i = 0; i < size; i++) {
        const key = `a/k${Math.floor(rng.next() * 200)}`;
        ops.set(key, rng.next() < 0.3 ? { kind: 'delete', key } : put(key, `${rng.next()}`));
      }
      try {
        await store.txn({ compares: [], ops: [...ops.values()] });
        written += 1;
      } catch (error) {
        if (!isBerthError(error, 'Unavailable')) throw error;
        await sleep(50);
      }
      await sleep(2);
    }
    return written;
  };
  const done = loop();
  return {
    stop: () => {
      running = false;
      return done;
    },
  };
}

async function endsEqual(follower: MirrorFollower, store: EtcdStore): Promise<void> {
  await eventually(async () => follower.revision.revision >= (await store.list('a/')).revision, { withinMs: 15_000 });
  const { entries } = await store.list('a/');
  expect([...follower.entries.values()].sort((x, y) => (x.key < y.key ? -1 : 1))).toEqual(entries);
  expect(follower.violations).toEqual([]);
  expect(new Set(follower.changedRevisions).size).toBe(follower.changedRevisions.length);
}

test('killed, restarted, frozen and compacted while a mirror follows: it ends equal, in order, nothing twice', async () => {
  const etcd = await start();
  const store = connect(etcd);
  await setEpoch(store, 'e1');
  const follower = follow(store, 'a/');
  const writing = writer(connect(etcd), 1);
  for (let round = 0; round < 3; round++) {
    await sleep(500);
    await etcd.restart();
    await sleep(500);
    etcd.pause();
    await sleep(3_500);
    etcd.resume();
    await eventually(async () => (await revisionOf(store)) > 0);
    await store.admin.compact(await revisionOf(store));
  }
  await sleep(500);
  expect(await writing.stop()).toBeGreaterThan(50);
  await endsEqual(follower, store);
});

async function revisionOf(store: EtcdStore): Promise<number> {
  try {
    return (await store.get(metaKeys.epoch)).revision;
  } catch (error) {
    if (isBerthError(error, 'Unavailable')) return 0;
    throw error;
  }
}

test('cut off without a word: noticed within 3 s, and the mirror goes on with nothing lost', async () => {
  const etcd = await start({ isolated: true });
  const logger = new MemoryLogger();
  const store = connect(etcd, logger);
  await setEpoch(store, 'e1');
  const follower = follow(store, 'a/');
  await eventually(() => follower.resets === 1);
  const writing = writer(connect(etcd), 2);
  await sleep(300);
  const cutAt = performance.now();
  await etcd.drop();
  await eventually(() => logger.lines.some((line) => line.level === 'warn'));
  const noticedMs = performance.now() - cutAt;
  expect(noticedMs).toBeLessThan(3_500);
  await sleep(4_000);
  await etcd.heal();
  const before = follower.steps.length;
  const healedAt = performance.now();
  await eventually(() => follower.steps.length > before, { withinMs: 8_000 });
  console.log(`noticed after ${noticedMs.toFixed()} ms, back ${(performance.now() - healedAt).toFixed()} ms after`);
  await sleep(300);
  expect(await writing.stop()).toBeGreaterThan(10);
  await endsEqual(follower, store);
  expect(follower.resets).toBe(1);
});

test('history compacted while it was away: the mirror resets', async () => {
  const etcd = await start();
  const store = connect(etcd);
  await setEpoch(store, 'e1');
  await store.txn({ compares: [], ops: [put('a/gone', '1'), put('a/kept', '1')] });
  const wire = await silenceable(etcd.port);
  toEnd.push(() => wire.close());
  const follower = follow(connect(wire), 'a/');
  await eventually(() => follower.resets === 1);
  wire.silence();
  await store.txn({ compares: [], ops: [{ kind: 'delete', key: 'a/gone' }, put('a/new', '1')] });
  const { revision } = await store.txn({ compares: [], ops: [put('a/kept', '2')] });
  await store.admin.compact(revision);
  await sleep(3_500);
  wire.speak();
  await eventually(() => follower.resets === 2, { withinMs: 15_000 });
  expect([...follower.entries.keys()]).toEqual(['a/kept', 'a/new']);
  await endsEqual(follower, store);
});

/** A wire to a local port that can fall silent in both directions, while others still reach the port. */
async function silenceable(port: number) {
  const sockets = new Set<Socket>();
  let silent = false;
  const server = createServer((inner) => {
    const outer = connectTo({ host: '127.0.0.1', port });
    inner.pipe(outer).pipe(inner);
    for (const socket of [inner, outer]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        inner.destroy();
        outer.destroy();
        sockets.delete(socket);
      });
      if (silent) socket.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    silence: () => {
      silent = true;
      for (const socket of sockets) socket.pause();
    },
    speak: () => {
      silent = false;
      for (const socket of sockets) socket.resume();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

test('another epoch on the same address: the mirror resets, though the new store is far behind its revision', async () => {
  const etcd = await start();
  const store = connect(etcd);
  await setEpoch(store, 'e1');
  for (let i = 0; i < 30; i++) await store.txn({ compares: [], ops: [put('a/old', `${i}`)] });
  const follower = follow(store, 'a/');
  await eventually(() => follower.resets === 1);
  const before = follower.revision.revision;
  await etcd.kill();
  rmSync(join(etcd.directory, 'data'), { recursive: true });
  await etcd.start();
  await eventually(async () => (await revisionOf(store)) > 0);
  await store.txn({ compares: [], ops: [put('a/new', '1')] });
  await setEpoch(store, 'e2');
  await eventually(() => follower.resets === 2);
  expect(follower.revision.epoch).toBe('e2');
  expect(follower.revision.revision).toBeLessThan(before);
  await endsEqual(follower, store);
});

test('large txns are never torn, though their events come in pieces', async () => {
  const etcd = await start();
  const store = connect(etcd);
  await setEpoch(store, 'e1');
  const { revision } = await store.get('a/0');
  const value = 'x'.repeat(10_000);
  const revisions: number[] = [];
  for (let round = 0; round < 6; round++) {
    const ops = Array.from({ length: 128 }, (_, i) => put(`a/${String(i).padStart(3, '0')}`, `${round}${value}`));
    revisions.push((await store.txn({ compares: [], ops })).revision);
  }
  const follower = follow(store, 'a/', { since: { epoch: 'e1', revision } });
  await eventually(() => follower.changedRevisions.length >= 6);
  expect(follower.changedRevisions).toEqual(revisions);
  expect(follower.steps.every((step) => step.kind !== 'batch' || [0, 128].includes(step.changes.length))).toBe(true);
  expect(follower.resets).toBe(0);
});

test('a write to a frozen server ends in time as of unknown outcome, and happens at most once', async () => {
  const etcd = await start();
  const store = connect(etcd);
  await setEpoch(store, 'e1');
  const before = await store.get('a/x');
  etcd.pause();
  const startedAt = performance.now();
  await expect(store.txn({ compares: [], ops: [put('a/x', '1')] })).rejects.toSatisfy((error) =>
    isBerthError(error, 'Unavailable', 'OUTCOME_UNKNOWN'),
  );
  expect(performance.now() - startedAt).toBeLessThan(3_500);
  etcd.resume();
  await eventually(async () => (await revisionOf(store)) > 0);
  await sleep(500);
  expect((await store.get('a/x')).revision - before.revision).toBeLessThanOrEqual(1);
  await etcd.kill();
  await expect(store.get('a/x')).rejects.toSatisfy((error) => isBerthError(error, 'Unavailable', 'UNREACHABLE'));
});

test('a lease on a silent store is lost to its holder before the store ends it', async () => {
  const etcd = await start({ isolated: true });
  const store = connect(etcd);
  await setEpoch(store, 'e1');
  const stop = new AbortController();
  const leadership = await store.campaign('a/leader', 'first', { ttlMs: 3_000, signal: stop.signal });
  await sleep(4_000);
  expect(leadership.lost.aborted).toBe(false);
  const cutAt = performance.now();
  await etcd.drop();
  await eventually(() => leadership.lost.aborted);
  const lostMs = performance.now() - cutAt;
  expect(lostMs).toBeGreaterThan(1_500);
  expect(lostMs).toBeLessThan(3_200);
  await etcd.heal();
  const next = await store.campaign('a/leader', 'second', { ttlMs: 3_000, signal: stop.signal });
  expect(next.fence).not.toEqual(leadership.fence);
  await next.resign();
});
