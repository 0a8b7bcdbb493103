import type { Revision } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { MemoryBroker, MemoryBus, MemoryLogger, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { expect, test } from 'vitest';
import { ChangeFeed } from './change-feed.ts';
import { encodeChangeEvent } from './cloud-event.ts';
import { Publisher } from './publisher.ts';
import { ScopeReader } from './scope-reader.ts';
import type { ItemChange } from './testing/item-view.ts';
import { ItemView, itemOwner, writeItems } from './testing/item-view.ts';

const scopes = ['network.a', 'network.b', 'network.c'];

class Lab {
  readonly clock = new VirtualClock();
  readonly rng: SeededRng;
  readonly store = new MemoryStore({ clock: this.clock });
  readonly broker = new MemoryBroker({ clock: this.clock });
  readonly stop = new AbortController();
  readonly feed = new ChangeFeed({
    owner: itemOwner,
    store: this.store,
    view: new ItemView(),
    clock: this.clock,
    log: new MemoryLogger(),
  });
  readonly reader: ScopeReader<ItemChange>;
  /** What the reader holds, by key. */
  readonly held = new Map<string, string>();
  readonly violations: string[] = [];
  calls = { changes: 0, compareHeads: 0 };
  serving = true;
  readonly #at = new Map<string, Revision>();

  constructor(seed: number) {
    this.rng = new SeededRng(seed);
    const publisher = new Publisher({
      owner: itemOwner,
      store: this.store,
      bus: new MemoryBus(this.broker),
      view: () => new ItemView(),
      toJson: (change) => change,
      candidate: 'p',
      clock: this.clock,
      log: new MemoryLogger(),
      partBytesMax: 200,
    });
    const ask = async <T>(work: () => Promise<T>): Promise<T> => {
      await this.clock.sleep(this.rng.next() * 20);
      if (!this.serving) throw new BerthError('Unavailable', 'no replica');
      return work();
    };
    this.reader = new ScopeReader({
      owner: itemOwner,
      bus: new MemoryBus(this.broker),
      clock: this.clock,
      rng: this.rng.fork(),
      log: new MemoryLogger(),
      fromJson: (json) => json as ItemChange,
      changes: (scope, since) => {
        this.calls.changes += 1;
        return ask(() => this.feed.changes(scope, since));
      },
      compareHeads: (heads, since) => {
        this.calls.compareHeads += 1;
        return ask(async () => (await this.feed.compareHeads(heads, since)).heads);
      },
      onStep: (scope, step) => {
        const before = this.#at.get(scope);
        if (before?.epoch === step.revision.epoch && step.revision.revision < before.revision) {
          this.violations.push(`${scope} from ${before.revision} back to ${step.revision.revision}`);
        }
        this.#at.set(scope, step.revision);
        if (step.kind === 'reset') {
          for (const key of this.held.keys()) if (key.startsWith(`item/${scope}/`)) this.held.delete(key);
        }
        for (const { key, resource } of step.changes) {
          if (resource) this.held.set(key, resource.value);
          else this.held.delete(key);
        }
      },
    });
    void this.feed.run(this.stop.signal);
    void publisher.run(this.stop.signal);
    void this.reader.run(this.stop.signal);
    for (const scope of scopes) this.reader.add(scope);
  }

  /** Random writes of several items over several scopes, one each 20 ms. */
  async write(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const items = new Map<string, Parameters<typeof writeItems>[1]>();
      const size = 1 + Math.floor(this.rng.next() * 8);
      for (let j = 0; j < size; j++) {
        const scope = scopes[Math.floor(this.rng.next() * scopes.length)] ?? '';
        const id = `${Math.floor(this.rng.next() * 12)}`;
        const value = this.rng.next() < 0.3 ? undefined : `${this.rng.next()}`;
        items.set(`${scope}/${id}`, { scope, id, value });
      }
      await writeItems(this.store, ...items.values());
      await this.clock.advance(20);
    }
  }

  get truth(): Map<string, string> {
    return new Map([...this.feed.resources.values()].map((item) => [item.key, item.resource?.value ?? '']));
  }

  get equal(): boolean {
    const { truth } = this;
    return truth.size === this.held.size && [...truth].every(([key, value]) => this.held.get(key) === value);
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.clock.advance(2_000);
    expect(this.violations).toEqual([]);
  }
}

test('when nothing is lost, events alone keep it equal: one read of each scope at the start', async () => {
  const lab = new Lab(1);
  await lab.clock.advance(1_000);
  await lab.write(100);
  await lab.clock.advance(200);
  expect(lab.equal).toBe(true);
  expect(lab.held.size).toBeGreaterThan(10);
  expect(lab.calls.changes).toBe(scopes.length);
  await lab.end();
});

test.each([1, 2, 3, 4, 5])(
  '30 %% of messages dropped, some doubled, then all dropped: it ends equal (seed %i)',
  async (seed) => {
    const lab = new Lab(seed);
    await lab.clock.advance(1_000);
    lab.broker.copies = () => (lab.rng.next() < 0.3 ? 0 : lab.rng.next() < 0.2 ? 2 : 1);
    await lab.write(200);
    await lab.clock.advanceUntil(() => lab.equal, 30_000);
    lab.broker.copies = () => 0;
    await lab.write(50);
    expect(lab.equal).toBe(false);
    await lab.clock.advanceUntil(() => lab.equal, 20_000);
    await lab.write(50);
    await lab.clock.advanceUntil(() => lab.equal, 15_000);
    await lab.end();
  },
);

test('the last event of a scope lost: the repeated head tells', async () => {
  const lab = new Lab(6);
  await lab.clock.advance(2_000);
  lab.broker.copies = ({ subject }) => (subject.includes('.changes.') ? 0 : 1);
  await lab.write(1);
  lab.broker.copies = () => 1;
  expect(lab.equal).toBe(false);
  await lab.clock.advanceUntil(() => lab.equal, 2_500);
  await lab.end();
});

test('events and heads lost, beacons alone get through: comparing heads every minute tells', async () => {
  const lab = new Lab(7);
  await lab.clock.advance(2_000);
  lab.broker.copies = ({ subject }) => (subject.endsWith('.beacon') ? 1 : 0);
  await lab.write(3);
  await lab.clock.advance(10_000);
  expect(lab.equal).toBe(false);
  await lab.clock.advanceUntil(() => lab.equal, 75_000);
  expect(lab.calls.compareHeads).toBeGreaterThan(0);
  await lab.end();
});

test('silence with the service away, too: it polls gently, and catches up when either is back', async () => {
  const lab = new Lab(8);
  await lab.clock.advance(2_000);
  lab.broker.setAvailable(false);
  lab.serving = false;
  await lab.write(20);
  const before = lab.calls.changes;
  await lab.clock.advance(60_000);
  const perScope = (lab.calls.changes - before) / scopes.length;
  // A read that failed is tried again within 5 s.
  expect(perScope).toBeGreaterThan(5);
  expect(perScope).toBeLessThan(25);
  lab.broker.setAvailable(true);
  await lab.clock.advance(6_000);
  lab.serving = true;
  await lab.clock.advanceUntil(() => lab.equal, 6_000);
  await lab.end();
});

test('a restored store is another epoch: everything is dropped and read again', async () => {
  const lab = new Lab(9);
  await lab.clock.advance(1_000);
  await lab.write(30);
  await lab.clock.advanceUntil(() => lab.equal);
  const kept = [...lab.held].slice(0, 3);
  const state = await lab.store.list('');
  lab.store.restore(
    'epoch-2',
    new Map(
      state.entries
        .filter(
          ({ key }) => key.includes('/head/') || kept.some(([item]) => key.endsWith(`/${item.split('/').at(-1)}`)),
        )
        .map(({ key, value }) => [key, value]),
    ),
  );
  await lab.clock.advanceUntil(() => lab.equal, 10_000);
  await lab.write(20);
  await lab.clock.advanceUntil(() => lab.equal, 10_000);
  expect(lab.reader.asOf('network.a')?.epoch).toBe('epoch-2');
  await lab.end();
});

test('scopes come and go while it runs; one that goes on from disk asks for the rest alone', async () => {
  const lab = new Lab(10);
  await lab.clock.advance(1_000);
  await lab.write(20);
  lab.reader.remove('network.a');
  const held = new Map([...lab.held].filter(([key]) => key.startsWith('item/network.a/')));
  const since = { epoch: 'epoch-1', revision: lab.store.revision };
  await lab.write(20);
  expect(new Map([...lab.held].filter(([key]) => key.startsWith('item/network.a/')))).toEqual(held);
  const before = lab.calls.changes;
  lab.reader.add('network.a', since);
  await lab.clock.advanceUntil(() => lab.equal, 1_000);
  expect(lab.calls.changes).toBe(before + 1);
  await lab.end();
});

test.each([
  ['owner', { owner: 'network' }],
  ['scope', { scope: 'network.b' }],
])('an event of another %s on a subject of its own is not believed', async (_what, foreign) => {
  const lab = new Lab(1);
  await lab.write(20);
  await lab.clock.advanceUntil(() => lab.equal && (lab.reader.asOf('network.a')?.revision ?? 0) > 0);
  const event = { owner: itemOwner, epoch: 'epoch-1', revision: 9_999, prev: 0, scope: 'network.a', part: 1, parts: 1 };
  const data = encodeChangeEvent({ ...event, kind: 'reset', more: false, changes: [], ...foreign });
  new MemoryBus(lab.broker).publish('berth.registry.changes.network.a', data);
  await lab.clock.advance(100);
  expect(lab.equal).toBe(true);
  await lab.write(20);
  await lab.clock.advanceUntil(() => lab.equal);
  lab.stop.abort();
});
