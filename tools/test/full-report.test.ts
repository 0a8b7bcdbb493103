import { expect, it } from 'vitest';
import { fullReport } from './full-report.ts';

it('says when, on which commit and machine, with what result and figures', () => {
  const report = fullReport({
    name: 'events',
    what: 'events over NATS',
    began: new Date(0),
    seconds: 61.4,
    machine: { commit: 'abc', node: 'v24', kernel: '6.1', cores: 2, memoryGiB: 8 },
    tally: {
      passed: 3,
      failed: 1,
      skipped: 0,
      failures: ['a.it.test.ts > x: late'],
      figures: [{ test: 'kill -9', values: { kills: 20 } }],
    },
  });
  for (const part of [
    '1970-01-01',
    '| commit | abc |',
    '61 s',
    '3 passed, 1 failed',
    'x: late',
    '| kill -9 | kills | 20 |',
  ]) {
    expect(report).toContain(part);
  }
});
