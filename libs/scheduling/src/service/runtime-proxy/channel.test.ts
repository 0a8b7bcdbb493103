import { expect, it } from 'vitest';
import { Channel } from './channel.ts';

const never = new AbortController().signal;

it('hands over all items of all writers, and holds back those that are too fast', async () => {
  const channel = new Channel<number>(2);
  let pushed = 0;
  const write = async (start: number) => {
    for (let item = start; item < start + 10; item += 1) {
      expect(await channel.push(item)).toBe(true);
      pushed += 1;
    }
  };
  const writers = Promise.all([write(0), write(100)]).then(() => channel.end());
  await new Promise((resolve) => setImmediate(resolve));
  expect(pushed).toBe(2);
  const read: number[] = [];
  for await (const item of channel.read(never)) read.push(item);
  await writers;
  expect(read.sort((a, b) => a - b)).toEqual([
    ...Array(10).keys(),
    ...Array.from({ length: 10 }, (_, index) => 100 + index),
  ]);
});

it('lets go of writers whose reader has left, and passes on the error that ended it', async () => {
  const channel = new Channel<number>(1);
  await channel.push(1);
  const waiting = channel.push(2);
  for await (const item of channel.read(never)) {
    expect(item).toBe(1);
    break;
  }
  // The second may have come in while the first was read; a third finds nobody.
  await waiting;
  expect(await channel.push(3)).toBe(false);

  const failing = new Channel<number>();
  await failing.push(1);
  failing.end({ error: new Error('gone') });
  const read: number[] = [];
  await expect(
    (async () => {
      for await (const item of failing.read(never)) read.push(item);
    })(),
  ).rejects.toThrow('gone');
  expect(read).toEqual([1]);
});

it('ends when its reader is told to', async () => {
  const abort = new AbortController();
  const channel = new Channel<number>();
  const reading = (async () => {
    for await (const _ of channel.read(abort.signal)) throw new Error('nothing was pushed');
  })();
  abort.abort();
  await reading;
  expect(await channel.push(1)).toBe(false);
});
