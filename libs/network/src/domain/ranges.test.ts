import { isBerthError } from '@berth/kernel';
import { contains, formatCidr, networkSettings, overlaps, parseCidr, piecesOf, sizeOf } from '@berth/workload';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { pickRange, unitsOf, unitsPerRangeMax } from './ranges.ts';

const settings = networkSettings({ pool: '10.64.0.0/10', rangePrefix: 22, blockPrefix: 26 });

describe('cidr', () => {
  it('reads what it writes', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.integer({ min: 0, max: 32 }), (address, prefix) => {
        const cidr = { base: address - (address % sizeOf(prefix)), prefix };
        expect(parseCidr(formatCidr(cidr))).toEqual(cidr);
      }),
    );
  });

  it.each(['10.64.0.0', '10.64.0.0/33', '256.0.0.0/8', '10.64.0.1/10', 'fd00::/8', '', '10.64.0/22'])(
    'refuses %j',
    (text) => {
      expect(() => parseCidr(text)).toThrow(expect.objectContaining({ reason: 'BAD_CIDR' }));
    },
  );

  it('cuts a block into pieces that fill it', () => {
    const pieces = piecesOf(parseCidr('10.64.0.0/22'), 26);
    expect(pieces.map(formatCidr).slice(0, 3)).toEqual(['10.64.0.0/26', '10.64.0.64/26', '10.64.0.128/26']);
    expect(pieces).toHaveLength(16);
    expect(formatCidr(pieces[15]!)).toBe('10.64.3.192/26');
  });
});

describe('networkSettings', () => {
  it.each([
    { pool: '10.64.0.0/24', rangePrefix: 22, blockPrefix: 26 },
    { pool: '10.64.0.0/10', rangePrefix: 27, blockPrefix: 26 },
    { pool: '10.64.0.0/10', rangePrefix: 22, blockPrefix: 30 },
    { pool: '10.64.0.0/10', rangePrefix: 22.5, blockPrefix: 26 },
  ])('refuses sizes that do not fit: %j', (input) => {
    expect(() => networkSettings(input)).toThrow(expect.objectContaining({ reason: 'BAD_NETWORK_SETTINGS' }));
  });
});

describe('pickRange', () => {
  it('takes the lowest gap, each range twice as large as the one before', () => {
    const taken = new Set<string>();
    const ranges: string[] = [];
    for (let held = 0; held < 4; held++) {
      const range = pickRange(settings, taken, held)!;
      for (const unit of unitsOf(settings, range)) taken.add(unit);
      ranges.push(range);
    }
    expect(ranges).toEqual(['10.64.0.0/22', '10.64.8.0/21', '10.64.16.0/20', '10.64.32.0/19']);
  });

  it('never grows beyond what one txn can take', () => {
    const range = pickRange(settings, new Set(), 20)!;
    expect(unitsOf(settings, range)).toHaveLength(unitsPerRangeMax);
  });

  it('takes what is left when no large gap is, and nothing when nothing is', () => {
    const small = networkSettings({ pool: '198.18.0.0/24', rangePrefix: 26, blockPrefix: 28 });
    expect(pickRange(small, new Set(['198.18.0.64/26']), 1)).toBe('198.18.0.128/25');
    expect(pickRange(small, new Set(['198.18.0.64/26', '198.18.0.128/26']), 3)).toBe('198.18.0.0/26');
    expect(pickRange(small, new Set(unitsOf(small, '198.18.0.0/24')), 0)).toBeUndefined();
  });

  it('never overlaps, whatever was taken and given back before', () => {
    const small = networkSettings({ pool: '198.18.0.0/19', rangePrefix: 25, blockPrefix: 28 });
    const step = fc.oneof(
      fc.record({ kind: fc.constant('take' as const), held: fc.nat(8) }),
      fc.record({ kind: fc.constant('give' as const), index: fc.nat(200) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const taken = new Set<string>();
        let held: string[] = [];
        for (const each of steps) {
          if (each.kind === 'give') {
            const gone = held[each.index % Math.max(1, held.length)];
            held = held.filter((range) => range !== gone);
            for (const unit of gone ? unitsOf(small, gone) : []) taken.delete(unit);
            continue;
          }
          const range = pickRange(small, taken, each.held);
          if (range === undefined) {
            // Exhausted means that not one unit is free.
            expect(taken.size).toBe(64);
            continue;
          }
          expect(contains(small.pool, parseCidr(range))).toBe(true);
          for (const other of held) expect(overlaps(parseCidr(range), parseCidr(other))).toBe(false);
          held.push(range);
          for (const unit of unitsOf(small, range)) taken.add(unit);
        }
      }),
    );
  });

  it('keeps errors typed', () => {
    try {
      parseCidr('x');
      expect.unreachable();
    } catch (error) {
      expect(isBerthError(error, 'InvalidArgument')).toBe(true);
    }
  });
});
