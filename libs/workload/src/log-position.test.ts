import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LogPosition } from './log-position.ts';

it('a break anywhere loses no line and doubles none', () => {
  const lines = fc.array(fc.nat(5), { maxLength: 30 }).map((steps) => {
    let at = 0;
    return steps.map((step) => (at += step > 2 ? step : 0));
  });
  fc.assert(
    fc.property(lines, fc.array(fc.nat(30), { maxLength: 4 }), (all, breaks) => {
      const position = new LogPosition();
      const seen: number[] = [];
      // Each connection brings what the log holds from the position's millisecond on, and breaks after some lines.
      for (const length of [...breaks, all.length]) {
        position.resume();
        for (const [index, atMs] of [...all.entries()].filter(([, at]) => at >= position.atMs).slice(0, length))
          if (position.isNew(atMs)) seen.push(index);
      }
      expect(seen).toEqual(all.map((_, index) => index));
    }),
  );
});

it('takes a clock that was set back for what it is, as long as nothing broke', () => {
  const position = new LogPosition();
  expect([5, 3, 4].map((atMs) => position.isNew(atMs))).toEqual([true, true, true]);
});
