import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Compare, StoreOp } from './ports/store.ts';
import { packTxns, txnBytesMax, txnOpsMax } from './txn-pack.ts';

const put = (key: string, bytes = 1): StoreOp => ({ kind: 'put', key, value: new Uint8Array(bytes) });
const absent = (key: string): Compare => ({ kind: 'absent', key });
const fence: Compare = { kind: 'created-at', key: 'leader', createRevision: 7 };

describe('packTxns', () => {
  it('keeps groups whole and in order, the fence in every txn, and the limits', () => {
    const group = fc.array(fc.nat(300), { minLength: 1, maxLength: 60 }).map((keys) => {
      const names = [...new Set(keys)].map(String);
      return { compares: names.map(absent), ops: names.map((key) => put(key)) };
    });
    fc.assert(
      fc.property(fc.array(group, { maxLength: 20 }), (groups) => {
        const txns = packTxns(groups, fence);
        for (const { ops, compares } of txns) {
          expect(ops.length).toBeLessThanOrEqual(txnOpsMax);
          expect(compares.length).toBeLessThanOrEqual(txnOpsMax);
          expect(compares).toContainEqual(fence);
          expect(new Set(ops.map(({ key }) => key)).size).toBe(ops.length);
        }
        // Each group is in one txn, and none in one before that of an earlier group.
        let at = 0;
        for (const { ops } of groups) {
          const holds = (index: number) => ops.every(({ key }) => txns[index]?.ops.some((op) => op.key === key));
          while (at < txns.length && !holds(at)) at += 1;
          expect(at).toBeLessThan(txns.length);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('starts another txn where the values would be too large for one request', () => {
    const large = Array.from({ length: 5 }, (_, index) => ({ compares: [], ops: [put(`k${index}`, txnBytesMax / 2)] }));
    expect(packTxns(large).map(({ ops }) => ops.length)).toEqual([2, 2, 1]);
    expect(packTxns([{ compares: [], ops: [put('a', txnBytesMax + 1)] }])).toHaveLength(1);
  });

  it('refuses a group that does not fit alone', () => {
    const ops = Array.from({ length: txnOpsMax + 1 }, (_, index) => put(`k${index}`));
    expect(() => packTxns([{ compares: [], ops }])).toThrow(expect.objectContaining({ reason: 'TXN_TOO_LARGE' }));
  });

  it('makes nothing of nothing', () => expect(packTxns([], fence)).toEqual([]));
});
