import { describe, expect, it } from 'vitest';
import { median, rowOf, tableOf } from './rows.ts';

describe('rows', () => {
  it('take medians, their ratio, and the spread', () => {
    const reference = { name: 'plain', samples: [2, 2, 4] };
    const row = rowOf({ bench: 'b', case: 'c', unit: 's', samples: [3, 1, 2, 9], reference });
    expect(row).toMatchObject({ value: 2.5, referenceValue: 2, ratio: 1.25, spread: [1, 9], rounds: 4 });
    expect(median([5])).toBe(5);
    expect(() => median([])).toThrow('no sample');
  });

  it('print as a table with three digits that count', () => {
    const table = tableOf([rowOf({ bench: 'b', case: 'c', unit: 's', goal: '≤ 1', samples: [12.345] })]);
    expect(table.split('\n')[2]).toBe('| c    | 12.3  | 12.3–12.3 (1) | s    |           |           |       | ≤ 1  |');
  });
});
