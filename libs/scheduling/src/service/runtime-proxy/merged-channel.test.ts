import { VirtualClock } from '@berth/memory';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MergedChannel } from './merged-channel.ts';

const never = new AbortController().signal;

function collect<T>(channel: MergedChannel<T>, signal = never) {
  const read: T[] = [];
  const done = (async () => {
    for await (const item of channel.read(signal)) read.push(item);
  })();
  return { read, done };
}

it('gives what many ordered writers say in one order, nothing lost or doubled', async () => {
  const lists = fc.array(fc.array(fc.nat(1_000), { maxLength: 40 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(lists, fc.integer({ min: 1, max: 8 }), async (unordered, itemsMax) => {
      const clock = new VirtualClock();
      const channel = new MergedChannel<number>({ clock, orderOf: (item) => item, holdMs: 100, itemsMax });
      const { read, done } = collect(channel);
      const writers = unordered.map(async (list) => {
        const source = channel.open();
        for (const item of list.sort((a, b) => a - b)) expect(await source.push(item)).toBe(true);
        source.end();
      });
      void Promise.all(writers).then(() => channel.end());
      let over = false;
      void done.then(() => (over = true));
      await clock.advanceUntil(() => over);
      expect(read).toEqual(unordered.flat().sort((a, b) => a - b));
    }),
    { numRuns: 50 },
  );
});

it('waits for a silent writer no longer than told, and not again while it stays silent', async () => {
  const clock = new VirtualClock();
  const channel = new MergedChannel<number>({ clock, orderOf: (item) => item, holdMs: 100 });
  const silent = channel.open();
  const loud = channel.open();
  const { read } = collect(channel);
  await loud.push(10);
  await clock.advance(50);
  expect(read).toEqual([]);
  await silent.push(5);
  await clock.advance(1);
  expect(read).toEqual([5]);
  await clock.advance(100);
  expect(read).toEqual([5, 10]);
  await clock.advance(1_000);
  for (let item = 20; item < 60; item += 1) await loud.push(item);
  await clock.advance(1);
  expect(read).toHaveLength(42);
});

it('holds back a writer that is too fast, and lets it go when the reader has left', async () => {
  const clock = new VirtualClock();
  const channel = new MergedChannel<number>({ clock, orderOf: (item) => item, holdMs: 0, itemsMax: 2 });
  const source = channel.open();
  await source.push(1);
  await source.push(2);
  let third: boolean | undefined;
  void source.push(3).then((taken) => (third = taken));
  await clock.advance(10);
  expect(third).toBeUndefined();
  const stop = new AbortController();
  stop.abort();
  await collect(channel, stop.signal).done;
  await clock.advance(10);
  expect(third).toBe(false);
});

it('passes an error on after what waits', async () => {
  const clock = new VirtualClock();
  const channel = new MergedChannel<number>({ clock, orderOf: (item) => item, holdMs: 1_000 });
  const source = channel.open();
  channel.open();
  await source.push(1);
  channel.end({ error: new Error('gone') });
  const { read, done } = collect(channel);
  await expect(done).rejects.toThrow('gone');
  expect(read).toEqual([1]);
});
