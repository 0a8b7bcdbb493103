import { describe, expect, it } from 'vitest';
import type { VitestReport } from './vitest-report.ts';
import { addTallies, singleCheck, tallyOf } from './vitest-report.ts';

function report(success: boolean, ...testResults: VitestReport['testResults'][number][]): VitestReport {
  return { success, testResults };
}

const passing = { fullName: 'adds', status: 'passed' };
const failing = { fullName: 'divides', status: 'failed', failureMessages: ['by zero\n at x'] };

describe('tallyOf', () => {
  it('counts each test once and names the failed ones', () => {
    const file = { name: '/r/a.test.ts', status: 'failed', assertionResults: [passing, failing] };
    const skip = { name: '/r/b.test.ts', status: 'passed', assertionResults: [{ fullName: 'x', status: 'pending' }] };
    expect(tallyOf(report(false, file, skip), '/r')).toEqual({
      passed: 1,
      failed: 1,
      skipped: 1,
      failures: ['a.test.ts > divides: by zero'],
      figures: [],
    });
  });

  it('counts a file that did not load', () => {
    const file = { name: '/r/a.test.ts', status: 'failed', message: 'no such module', assertionResults: [] };
    expect(tallyOf(report(false, file), '/r').failures).toEqual(['a.test.ts: no such module']);
  });

  it('counts a failed hook of a file whose tests passed', () => {
    const file = { name: '/r/a.test.ts', status: 'failed', message: 'afterAll', assertionResults: [passing] };
    expect(tallyOf(report(false, file), '/r')).toMatchObject({ passed: 1, failed: 1 });
  });

  it('counts an unhandled error outside of any test', () => {
    const file = { name: '/r/a.test.ts', status: 'passed', assertionResults: [passing] };
    expect(tallyOf(report(false, file), '/r')).toMatchObject({ passed: 1, failed: 1 });
  });

  it('takes a run without a test for a failure', () => {
    expect(tallyOf(report(true), '/r')).toMatchObject({ passed: 0, failed: 1, failures: ['no test ran'] });
  });

  it('keeps what tests measured', () => {
    const test = { ...passing, meta: { figures: { seconds: 2.5 } } };
    const file = { name: '/r/a.test.ts', status: 'passed', assertionResults: [test] };
    expect(tallyOf(report(true, file), '/r').figures).toEqual([{ test: 'adds', values: { seconds: 2.5 } }]);
  });
});

it('adds up', () => {
  const sum = addTallies([singleCheck(undefined), singleCheck('lint: red')]);
  expect(sum).toMatchObject({ passed: 1, failed: 1, failures: ['lint: red'] });
});
