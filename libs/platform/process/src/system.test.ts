import { describe, expect, it } from 'vitest';
import { SystemClock, SystemRng } from './system.ts';

const clock = new SystemClock();

describe('the system clock', () => {
  it('sleeps, and wakes at once when told to, without rejecting', async () => {
    const started = clock.monotonic();
    await clock.sleep(50);
    expect(clock.monotonic() - started).toBeGreaterThanOrEqual(45);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 10);
    await clock.sleep(60_000, controller.signal);
    await clock.sleep(60_000, controller.signal);
    expect(clock.monotonic() - started).toBeLessThan(5_000);
  });

  it('fires a timer once, unless it is cancelled', async () => {
    const fired: string[] = [];
    clock.timer(10, () => fired.push('first'));
    clock.timer(10, () => fired.push('cancelled'))();
    await clock.sleep(50);
    expect(fired).toEqual(['first']);
  });

  it.each([2 ** 31, Number.POSITIVE_INFINITY])('does not take a wait of %d ms for none', async (ms) => {
    const ended: string[] = [];
    const controller = new AbortController();
    const cancel = clock.timer(ms, () => ended.push('timer'));
    void clock.sleep(ms, controller.signal).then(() => ended.push('sleep'));
    await clock.sleep(50);
    expect(ended).toEqual([]);
    cancel();
    controller.abort();
  });

  it('knows the time of day', () => {
    expect(Math.abs(clock.wall() - Date.now())).toBeLessThan(1_000);
  });
});

describe('the system rng', () => {
  it('stays in [0, 1), spread over all of it, and gives as many bytes as were asked for', () => {
    const rng = new SystemRng();
    const values = Array.from({ length: 2_000 }, () => rng.next());
    expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(values.filter((value) => value < 0.5).length).toBeGreaterThan(800);
    expect(values.filter((value) => value < 0.5).length).toBeLessThan(1_200);
    expect(new Set(values).size).toBe(2_000);
    expect(rng.bytes(33)).toHaveLength(33);
  });
});
