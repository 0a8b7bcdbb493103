import { expect, test } from 'vitest';
import { AsyncQueue } from './async-queue.ts';

async function rest<T>(queue: AsyncQueue<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of queue) items.push(item);
  return items;
}

test('items come in order, those that wait first, then as they are pushed, until it is closed', async () => {
  const queue = new AsyncQueue<number>();
  queue.push(1);
  queue.push(2);
  const reading = rest(queue);
  await Promise.resolve();
  queue.push(3);
  await new Promise((resolve) => setImmediate(resolve));
  queue.push(4);
  queue.close();
  queue.push(5);
  expect(await reading).toEqual([1, 2, 3, 4]);
});

test('beyond its bound the oldest are lost, and counted', async () => {
  let lost = 0;
  const queue = new AsyncQueue<number>({ pendingMax: 1_000, onDrop: () => (lost += 1) });
  for (let i = 0; i < 5_000; i++) queue.push(i);
  expect(queue.size).toBe(1_000);
  queue.close();
  expect(await rest(queue)).toEqual(Array.from({ length: 1_000 }, (_, i) => 4_000 + i));
  expect(lost).toBe(4_000);
});

test('a failure comes after the items before it', async () => {
  const queue = new AsyncQueue<number>();
  queue.push(1);
  queue.fail(new Error('broken'));
  const items: number[] = [];
  const reading = (async () => {
    for await (const item of queue) items.push(item);
  })();
  await expect(reading).rejects.toThrow('broken');
  expect(items).toEqual([1]);
});
