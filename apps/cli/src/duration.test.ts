import { expect, it } from 'vitest';
import { durationMs, momentMs } from './duration.ts';

it.each([
  ['500ms', 500],
  ['1.5s', 1_500],
  ['5m', 300_000],
  ['1h30m', 5_400_000],
  ['2d', 172_800_000],
])('%s is %i ms', (text, ms) => expect(durationMs(text)).toBe(ms));

it.each(['', '5', '5x', '-5m', 'm', '5m,', '5m 3s'])('%j is no duration', (text) =>
  expect(() => durationMs(text)).toThrow(/no duration/u),
);

it.each([
  ['10m', 1_000_000 - 600_000],
  ['1970-01-01T00:00:10Z', 10_000],
  ['1970-01-02', 86_400_000],
  ['12.5', 12_500],
])('%s is a moment', (text, ms) => expect(momentMs('--since', text, 1_000_000)).toBe(ms));

it.each(['yesterday', '1970-99-01', '5x', '-3m'])('%j is no moment', (text) =>
  expect(() => momentMs('--since', text, 0)).toThrow(/--since|no duration/u),
);
