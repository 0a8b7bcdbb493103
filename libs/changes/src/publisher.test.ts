import type { EventLog, LoggedEvent } from '@berth/kernel';
import { MemoryBroker, MemoryBus, MemoryLogger, MemoryStore, VirtualClock } from '@berth/memory';
import { expect, test } from 'vitest';
import type { ChangeEvent } from './cloud-event.ts';
import { decodeBeacon, decodeChangeEvent, decodeHead, encodeChangeEvent } from './cloud-event.ts';
import { Publisher } from './publisher.ts';
import type { ItemChange } from './testing/item-view.ts';
import { ItemView, itemOwner, writeItems } from './testing/item-view.ts';

const stream = 'LOG_REGISTRY';

class Lab {
  readonly clock = new VirtualClock();
  readonly store = new MemoryStore({ clock: this.clock });
  readonly broker = new MemoryBroker({ clock: this.clock });
  readonly logger = new MemoryLogger();
  readonly #ends: AbortController[] = [];

  publisher(options: { readonly partBytesMax?: number; readonly bus?: MemoryBus } = {}) {
    const stop = new AbortController();
    this.#ends.push(stop);
    const publisher = new Publisher({
      owner: itemOwner,
      store: this.store,
      bus: options.bus ?? new MemoryBus(this.broker),
      view: () => new ItemView(),
      toJson: (change) => change,
      candidate: `p${this.#ends.length}`,
      clock: this.clock,
      log: this.logger,
      ...options,
    });
    const done = publisher.run(stop.signal);
    const end = async (): Promise<void> => {
      stop.abort();
      await this.clock.advance(1_000);
      await done;
    };
    return { publisher, end };
  }

  get logged(): readonly LoggedEvent[] {
    return this.broker.events(stream);
  }

  get events(): ChangeEvent[] {
    return this.logged.map(({ data }) => decodeChangeEvent(data));
  }

  /** Every (revision, scope) of the log, as text. */
  get trace(): string[] {
    return this.events.map(({ kind, revision, scope, prev, part, parts }) => {
      const which = parts > 1 ? ` ${part}/${parts}` : '';
      return kind === 'reset' ? `${revision} ${scope} reset${which}` : `${revision} ${scope} after ${prev}${which}`;
    });
  }

  published(publisher: Publisher<ItemChange>, revision: number): Promise<void> {
    return this.clock.advanceUntil(() => (publisher.publishedUpTo?.revision ?? 0) >= revision);
  }

  listen(subject: string): Uint8Array[] {
    const got: Uint8Array[] = [];
    const read = async (): Promise<void> => {
      const bus = new MemoryBus(this.broker);
      for await (const { data } of bus.subscribe(subject, { signal: new AbortController().signal })) got.push(data);
    };
    void read();
    return got;
  }
}

test('a txn of 120 endpoints in 3 networks is 3 events with all 120', async () => {
  const lab = new Lab();
  const { publisher, end } = lab.publisher();
  const items = Array.from({ length: 120 }, (_, i) => ({ scope: `network.n${i % 3}`, id: `e${i}`, value: `${i}` }));
  const revision = await writeItems(lab.store, ...items);
  await lab.published(publisher, revision);
  expect(lab.trace).toEqual(['n0', 'n1', 'n2'].map((n) => `${revision} network.${n} after 0`));
  expect(lab.events.flatMap(({ changes }) => changes)).toHaveLength(120);
  expect(lab.logged.map(({ subject, messageId }) => [subject, messageId])).toEqual(
    ['n0', 'n1', 'n2'].map((n) => [`berth.registry.changes.network.${n}`, `epoch-1/registry/${revision}/network.${n}`]),
  );
  await end();
});

test('each event names the revision of its scope before it; a deletion has no resource', async () => {
  const lab = new Lab();
  const { publisher, end } = lab.publisher();
  const first = await writeItems(lab.store, { scope: 'b', id: '1', value: 'x' }, { scope: 'a', id: '1', value: 'x' });
  const second = await writeItems(lab.store, { scope: 'a', id: '1', value: undefined });
  const third = await writeItems(lab.store, { scope: 'b', id: '1', value: 'y' });
  await lab.published(publisher, third);
  expect(lab.trace).toEqual([
    `${first} a after 0`,
    `${first} b after 0`,
    `${second} a after ${first}`,
    `${third} b after ${first}`,
  ]);
  expect(lab.events[2]?.changes).toEqual([{ scopes: ['a'], key: 'item/a/1' }]);
  await end();
});

test('a large event comes in parts', async () => {
  const lab = new Lab();
  const { publisher, end } = lab.publisher({ partBytesMax: 1_000 });
  const items = Array.from({ length: 10 }, (_, i) => ({ scope: 'a', id: `${i}`, value: 'x'.repeat(300) }));
  const revision = await writeItems(lab.store, ...items);
  await lab.published(publisher, revision);
  expect(lab.trace).toEqual([1, 2, 3, 4, 5].map((part) => `${revision} a after 0 ${part}/5`));
  expect(lab.events.flatMap(({ changes }) => changes)).toHaveLength(10);
  expect(lab.logged.at(-1)?.messageId).toBe(`epoch-1/registry/${revision}/a/5`);
  await end();
});

test.each([1, 2, 3, 4, 5, 6, 7])(
  'broken off after %i events, the next publisher goes on right there',
  async (count) => {
    const lab = new Lab();
    const bus = new MemoryBus(lab.broker);
    const partial = lab.publisher({ partBytesMax: 1_000, bus });
    // The connection breaks after so many events: the next append fails.
    let published = 0;
    lab.broker.copies = () => {
      published += 1;
      if (published === count) bus.setConnected(false);
      return 1;
    };
    await writeItems(
      lab.store,
      ...['a', 'b', 'c'].flatMap((scope) =>
        Array.from({ length: 4 }, (_, i) => ({ scope, id: `${i}`, value: 'x'.repeat(300) })),
      ),
    );
    const last = await writeItems(lab.store, { scope: 'b', id: '9', value: 'y' });
    await lab.clock.advance(200);
    expect(lab.logged.length).toBe(count);
    lab.broker.copies = () => 1;
    await partial.end();
    const { publisher, end } = lab.publisher({ partBytesMax: 1_000 });
    await lab.published(publisher, last);
    const first = last - 1;
    const two = (scope: string) => [1, 2].map((part) => `${first} ${scope} after 0 ${part}/2`);
    expect(lab.trace).toEqual([...two('a'), ...two('b'), ...two('c'), `${last} b after ${first}`]);
    await end();
  },
);

test('where history is gone, each newer scope is reset, whole; also when that is broken off', async () => {
  const lab = new Lab();
  const first = lab.publisher();
  for (const scope of ['a', 'b', 'c']) await writeItems(lab.store, { scope, id: '1', value: 'old' });
  await lab.clock.advanceUntil(() => lab.logged.length === 3);
  await first.end();
  const unseen = [
    await writeItems(lab.store, { scope: 'c', id: '2', value: 'new' }),
    await writeItems(lab.store, { scope: 'a', id: '1', value: undefined }),
  ];
  lab.store.compact();
  const bus = new MemoryBus(lab.broker);
  lab.broker.copies = () => {
    bus.setConnected(false);
    return 1;
  };
  const second = lab.publisher({ bus });
  await lab.clock.advance(200);
  lab.broker.copies = () => 1;
  expect(lab.trace.slice(3)).toEqual([`${unseen[0]} c reset`]);
  await second.end();
  const third = lab.publisher();
  await lab.clock.advanceUntil(() => lab.logged.length === 5);
  expect(lab.trace.slice(3)).toEqual([`${unseen[0]} c reset`, `${unseen[1]} a reset`]);
  expect(lab.events[3]).toMatchObject({ more: true, changes: [{ key: 'item/c/1' }, { key: 'item/c/2' }] });
  expect(lab.events[4]).toMatchObject({ more: false, changes: [] });
  const revision = await writeItems(lab.store, { scope: 'a', id: '3', value: 'x' });
  await lab.clock.advanceUntil(() => lab.logged.length === 6);
  expect(lab.trace.at(-1)).toBe(`${revision} a after ${unseen[1]}`);
  await third.end();
});

test('another epoch resets every scope, though its revisions are lower', async () => {
  const lab = new Lab();
  const { end } = lab.publisher();
  for (let i = 0; i < 5; i++) await writeItems(lab.store, { scope: 'a', id: '1', value: `${i}` });
  await lab.clock.advanceUntil(() => lab.logged.length === 5);
  lab.store.restore('epoch-2');
  await lab.clock.advanceUntil(() => lab.logged.length === 6);
  expect(lab.events.at(-1)).toMatchObject({
    epoch: 'epoch-2',
    kind: 'reset',
    scope: 'a',
    changes: [{ key: 'item/a/1' }],
  });
  await end();
});

/** A connection over which an append takes 5 ms. */
class SlowBus extends MemoryBus {
  readonly #clock: VirtualClock;

  constructor(lab: Lab) {
    super(lab.broker);
    this.#clock = lab.clock;
  }

  override log(name: string): EventLog {
    const log = super.log(name);
    const append: EventLog['append'] = async (event) => {
      await this.#clock.sleep(5);
      return log.append(event);
    };
    return { ...log, append };
  }
}

test('two publishers at once: the deposed one fails, and each event is recorded once', async () => {
  const lab = new Lab();
  const first = lab.publisher({ bus: new SlowBus(lab) });
  await writeItems(lab.store, { scope: 'a', id: '1', value: '0' });
  await lab.clock.advanceUntil(() => lab.logged.length === 1);
  const second = lab.publisher();
  // The store ends the lease, its holder does not know: both publish.
  const lease = lab.store.leaseOf('registry/leader/publisher');
  if (lease) lab.store.expire(lease, { silently: true });
  await lab.clock.advanceUntil(() => second.publisher.leading);
  expect(first.publisher.leading).toBe(true);
  const revisions: number[] = [];
  for (let i = 1; i <= 20; i++) {
    revisions.push(await writeItems(lab.store, { scope: 'a', id: '1', value: `${i}` }));
    await lab.clock.advance(10);
  }
  await lab.clock.advance(1_000);
  expect(lab.events.slice(1).map(({ revision }) => revision)).toEqual(revisions);
  expect(first.publisher.leading).toBe(false);
  expect(lab.logger.lines.map(({ message }) => message)).toContain('publisher: deposed, another one publishes');
  await first.end();
  await second.end();
});

test('the beacon tells how far it is published; a changed head is repeated after 1, 2, 4, 8, 16 s', async () => {
  const lab = new Lab();
  const beacons = lab.listen('berth.registry.beacon');
  const heads = lab.listen('berth.registry.head.>');
  const { end } = lab.publisher();
  await lab.clock.advance(1_500);
  const revision = await writeItems(lab.store, { scope: 'network.x', id: '1', value: '0' });
  const seen: number[] = [];
  for (let second = 0; second < 40; second++) {
    await lab.clock.advance(1_000);
    for (const data of heads.splice(0)) {
      expect(decodeHead(data)).toEqual({ owner: 'registry', epoch: 'epoch-1', scope: 'network.x', revision });
      seen.push(second);
    }
  }
  expect(seen.map((each) => each - (seen[0] ?? 0))).toEqual([0, 1, 3, 7, 15]);
  expect(beacons.length).toBeGreaterThanOrEqual(40);
  expect(decodeBeacon(beacons.at(-1) ?? new Uint8Array())).toMatchObject({
    owner: 'registry',
    publishedUpTo: revision,
  });
  lab.broker.setAvailable(false);
  const before = beacons.length;
  await lab.clock.advance(5_000);
  expect(beacons).toHaveLength(before);
  lab.broker.setAvailable(true);
  await lab.clock.advance(3_000);
  expect(beacons.length).toBeGreaterThan(before);
  await end();
});

test.each([
  ["another owner's event", (event: ChangeEvent) => encodeChangeEvent({ ...event, owner: 'network', revision: 1_000 })],
  ['what is no event', () => new TextEncoder().encode('{}')],
])('%s at the end of the log is no place to go on from: all scopes are told anew', async (_what, foreign) => {
  const lab = new Lab();
  const first = lab.publisher();
  await lab.published(first.publisher, await writeItems(lab.store, { scope: 'a', id: '1', value: 'x' }));
  await first.end();
  const bus = new MemoryBus(lab.broker);
  const [before] = lab.events as [ChangeEvent];
  await bus.log(stream).append({
    subject: 'berth.registry.changes.a',
    messageId: 'not ours',
    data: foreign(before),
    expectedLastSequence: 1,
  });
  // Missed by whoever goes on after the foreign event.
  const missed = await writeItems(lab.store, { scope: 'b', id: '1', value: 'y' });
  const next = lab.publisher();
  await lab.published(next.publisher, missed);
  const last = await writeItems(lab.store, { scope: 'b', id: '1', value: 'z' });
  await lab.published(next.publisher, last);
  const own = lab.logged.slice(2).map(({ data }) => decodeChangeEvent(data));
  expect(own.map(({ kind, scope, revision }) => [kind, scope, revision])).toEqual([
    ['reset', 'a', before.revision],
    ['reset', 'b', missed],
    ['changes', 'b', last],
  ]);
  await next.end();
});
