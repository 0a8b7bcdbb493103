import { expect, it } from 'vitest';
import { onAbort } from './on-abort.ts';

it('stops once, when the signal aborts or at once if it has already, and not when it was taken back', () => {
  const stops: string[] = [];
  const early = new AbortController();
  early.abort();
  onAbort(early.signal, () => stops.push('early'));
  expect(stops).toEqual(['early']);
  const late = new AbortController();
  onAbort(late.signal, () => stops.push('late'));
  onAbort(late.signal, () => stops.push('taken back'))();
  late.abort();
  expect(stops).toEqual(['early', 'late']);
});
