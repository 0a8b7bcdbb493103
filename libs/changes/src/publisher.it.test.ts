import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectNats } from '@berth/events-nats';
import { isBerthError, metaKeys } from '@berth/kernel';
import { MemoryLogger, SeededRng } from '@berth/memory';
import type { EtcdStore } from '@berth/store-etcd';
import { connectEtcd } from '@berth/store-etcd';
import type { EtcdServer, NatsServer } from '@berth/testing-hosts';
import { startEtcd, startNats } from '@berth/testing-hosts';
import { eventually, realClock } from '@berth/testing-suites';
import type { JsMsg } from 'nats';
import { AckPolicy, connect } from 'nats';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ChangeEvent } from './cloud-event.ts';
import { decodeChangeEvent } from './cloud-event.ts';
import { Publisher } from './publisher.ts';
import { ItemView, itemOwner, writeItems } from './testing/item-view.ts';

const stream = 'LOG_REGISTRY';
const leader = `${itemOwner}/leader/publisher`;
const duplicateWindowMs = 1_000;

let etcd: EtcdServer;
let nats: NatsServer;
let store: EtcdStore;
const toEnd: (() => Promise<void>)[] = [];

beforeEach(async () => {
  etcd = await startEtcd();
  nats = await startNats();
  store = openStore();
  await store.txn({
    compares: [],
    ops: [{ kind: 'put', key: metaKeys.epoch, value: new TextEncoder().encode('e1') }],
  });
});
afterEach(async () => {
  for (const end of toEnd.splice(0).reverse()) await end();
  await etcd.stop();
  await nats.stop();
});

function openStore(): EtcdStore {
  const opened = connectEtcd({
    endpoints: [etcd.endpoint],
    clock: realClock,
    rng: new SeededRng(1),
    logger: new MemoryLogger(),
  });
  toEnd.push(async () => opened.close());
  return opened;
}

/** A publisher in a process of its own, to be killed. */
function startPublisher(): ChildProcess {
  const file = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const script = `
    import { connectNats } from '@berth/events-nats';
    import { MemoryLogger, SeededRng } from '@berth/memory';
    import { connectEtcd } from '@berth/store-etcd';
    import { Publisher } from ${file('publisher.ts')};
    import { ItemView, itemOwner } from ${file('testing/item-view.ts')};
    import { realClock as clock } from ${file('../../testing/suites/src/real-clock.ts')};
    const logger = new MemoryLogger();
    const rng = new SeededRng(process.pid);
    await new Publisher({
      owner: itemOwner,
      store: connectEtcd({ endpoints: ['${etcd.endpoint}'], clock, rng, logger }),
      bus: connectNats({ servers: () => ['${nats.address}:${nats.port}'], clock, rng, logger, callTimeoutMs: 1_000 }),
      view: () => new ItemView(),
      toJson: (change) => change,
      candidate: 'process ' + process.pid,
      clock,
      log: logger,
      limits: { duplicateWindowMs: ${duplicateWindowMs}, maxBytes: ${2 ** 26} },
      leaseTtlMs: 2_000,
    }).run(new AbortController().signal);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  toEnd.push(() => killed(child));
  return child;
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** A durable subscriber from outside: a JetStream consumer that outlives connections and restarts. */
class Subscriber {
  readonly events: ChangeEvent[] = [];
  #lastSequence = 0;

  async start(): Promise<void> {
    const connection = await connect({
      servers: [`${nats.address}:${nats.port}`],
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
    });
    const manager = await connection.jetstreamManager();
    await manager.consumers.add(stream, { durable_name: 'outside', ack_policy: AckPolicy.Explicit });
    const consumer = await connection.jetstream().consumers.get(stream, 'outside');
    const messages = await consumer.consume({ max_messages: 200, expires: 2_000 });
    const read = async (): Promise<void> => {
      for await (const message of messages) this.#take(message);
    };
    void read();
    toEnd.push(async () => {
      await messages.close();
      await connection.close();
    });
  }

  #take(message: JsMsg): void {
    message.ack();
    // JetStream delivers again what it did not hear acknowledged; its sequence tells.
    if (message.seq <= this.#lastSequence) return;
    expect(message.seq).toBe(this.#lastSequence + 1);
    this.#lastSequence = message.seq;
    this.events.push(decodeChangeEvent(message.data));
  }
}

test('kill -9 of the publisher 20 times, NATS restarted in between: every (scope, revision) once and in order', async () => {
  const rng = new SeededRng(1);
  const expected: { revision: number; scope: string; prev: number }[] = [];
  const heads = new Map<string, number>();
  const present = new Set<string>();
  let changes = 0;
  let writing = true;
  toEnd.push(async () => {
    writing = false;
    await done;
  });
  const write = async (): Promise<void> => {
    while (writing) {
      const items = new Map<string, Parameters<typeof writeItems>[1]>();
      for (let i = 0; i < 8; i++) {
        const scope = `network.n${Math.floor(rng.next() * 6)}`;
        const id = `${Math.floor(rng.next() * 40)}`;
        const value = rng.next() < 0.2 && present.has(scope + id) ? undefined : `${rng.next()}`;
        items.set(scope + id, { scope, id, value });
      }
      const revision = await writeItems(store, ...items.values());
      changes += items.size;
      for (const [name, { value }] of items) {
        if (value === undefined) present.delete(name);
        else present.add(name);
      }
      for (const scope of [...new Set([...items.values()].map((item) => item.scope))].sort()) {
        expected.push({ revision, scope, prev: heads.get(scope) ?? 0 });
        heads.set(scope, revision);
      }
      await sleep(20);
    }
  };
  const observer = connectNats({
    servers: () => [`${nats.address}:${nats.port}`],
    clock: realClock,
    rng: new SeededRng(1),
    logger: new MemoryLogger(),
    callTimeoutMs: 1_000,
  });
  toEnd.push(() => observer.close());
  await eventually(() => observer.connected);
  const length = async (): Promise<number> => {
    try {
      return await observer.log(stream).lastSequence();
    } catch (error) {
      if (isBerthError(error, 'NotFound') || isBerthError(error, 'Unavailable')) return 0;
      throw error;
    }
  };

  const subscriber = new Subscriber();
  let child = startPublisher();
  const done = write();
  for (let round = 0; round < 20; round++) {
    const before = await length();
    await eventually(async () => (await length()) > before, { withinMs: 20_000 });
    if (round === 0) await subscriber.start();
    await sleep(rng.next() * 150);
    if (round === 6 || round === 13) {
      await nats.kill();
      await sleep(200);
      await nats.start();
      await sleep(rng.next() * 300);
    }
    await killed(child);
    // One stop outlasts the window in which JetStream knows a message id, and the publisher's lease by itself.
    if (round === 10) await sleep(3 * duplicateWindowMs);
    else await store.admin.endLeaseOf(leader);
    child = startPublisher();
  }
  await eventually(() => changes >= 10_000, { withinMs: 60_000 });
  writing = false;
  await done;
  await eventually(() => subscriber.events.length >= expected.length, {
    withinMs: 30_000,
    describe: () => ({ got: subscriber.events.length, expected: expected.length }),
  });
  await sleep(500);
  expect(subscriber.events.map(({ revision, scope, prev }) => ({ revision, scope, prev }))).toEqual(expected);
  expect(subscriber.events.flatMap((event) => event.changes)).toHaveLength(changes);
  expect(subscriber.events.every(({ kind }) => kind === 'changes')).toBe(true);
  console.log(`${changes} changes, ${expected.length} events, 20 kills`);
}, 180_000);

test('two publishers at once over real connections: the deposed one fails, a txn of 120 in 3 networks is 3 events', async () => {
  const logger = new MemoryLogger();
  const open = () => {
    const bus = connectNats({
      servers: () => [`${nats.address}:${nats.port}`],
      clock: realClock,
      rng: new SeededRng(1),
      logger: new MemoryLogger(),
    });
    toEnd.push(() => bus.close());
    const stop = new AbortController();
    const publisher = new Publisher({
      owner: itemOwner,
      store: openStore(),
      bus,
      view: () => new ItemView(),
      toJson: (change) => change,
      candidate: 'p',
      clock: realClock,
      log: logger,
      limits: { maxBytes: 2 ** 26 },
      leaseTtlMs: 20_000,
    });
    const running = publisher.run(stop.signal);
    toEnd.push(async () => {
      stop.abort();
      await running;
    });
    return { publisher, bus };
  };
  const first = open();
  await eventually(() => first.publisher.publishedUpTo !== undefined);
  const second = open();
  // The holder hears of its lease's end only at the next keep-alive, after a third of its time.
  await store.admin.endLeaseOf(leader);
  await eventually(() => second.publisher.leading);
  expect(first.publisher.leading).toBe(true);
  const revisions: number[] = [];
  for (let round = 0; round < 10; round++) {
    const items = Array.from({ length: 120 }, (_, i) => ({
      scope: `network.n${i % 3}`,
      id: `e${i}`,
      value: `${round}`,
    }));
    revisions.push(await writeItems(store, ...items));
    await sleep(100);
  }
  await eventually(() => !first.publisher.leading);
  await eventually(() => (second.publisher.publishedUpTo?.revision ?? 0) >= (revisions.at(-1) ?? 0));
  const subscriber = new Subscriber();
  await subscriber.start();
  await eventually(() => subscriber.events.length >= 30);
  await sleep(300);
  expect(subscriber.events.map(({ revision, scope }) => `${revision} ${scope}`)).toEqual(
    revisions.flatMap((revision) => ['n0', 'n1', 'n2'].map((n) => `${revision} network.${n}`)),
  );
  expect(subscriber.events.map((event) => event.changes.length)).toEqual(Array.from({ length: 30 }, () => 40));
});
