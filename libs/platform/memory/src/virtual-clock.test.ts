import { expect, test } from 'vitest';
import { SeededRng } from './seeded-rng.ts';
import { VirtualClock } from './virtual-clock.ts';

test('timers fire in order of their time, then of their making, each at its own time', async () => {
  const clock = new VirtualClock();
  const fired: [string, number][] = [];
  const at = (name: string, ms: number) => clock.timer(ms, () => fired.push([name, clock.monotonic()]));
  at('c', 30);
  at('a', 10);
  at('b', 10);
  at('never', 20)();
  clock.timer(15, () => at('inner', 5));
  await clock.advance(100);
  expect(fired).toEqual([
    ['a', 10],
    ['b', 10],
    ['inner', 20],
    ['c', 30],
  ]);
  expect(clock.monotonic()).toBe(100);
});

test('what a timer sets off settles before the next one fires', async () => {
  const clock = new VirtualClock();
  const seen: number[] = [];
  const loop = async () => {
    for (let i = 0; i < 3; i++) {
      await clock.sleep(10);
      await Promise.resolve();
      seen.push(clock.monotonic());
    }
  };
  void loop();
  await clock.advance(30);
  expect(seen).toEqual([10, 20, 30]);
});

test('a sleep ends with its signal and leaves no timer', async () => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const slept = clock.sleep(1_000, stop.signal);
  stop.abort();
  await slept;
  expect(clock.pending).toBe(0);
  await clock.sleep(1_000, stop.signal);
});

test('a seed repeats, another seed differs', () => {
  const draw = (seed: number) => {
    const rng = new SeededRng(seed);
    return [rng.next(), rng.next(), ...rng.bytes(8)];
  };
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
  const rng = new SeededRng(7);
  const values = Array.from({ length: 10_000 }, () => rng.next());
  expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
  expect(values.reduce((sum, value) => sum + value, 0) / values.length).toBeCloseTo(0.5, 1);
});
