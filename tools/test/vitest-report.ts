/** What a step counted. `failures` names each failed check, with the first line of its reason. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly failures: readonly string[];
  /** What tests measured, as they said it in `task.meta.figures`: name of the test → figures. */
  readonly figures: readonly Figures[];
}

export interface Figures {
  readonly test: string;
  readonly values: Readonly<Record<string, string | number>>;
}

/** The part of vitest's JSON report that is read here. */
export interface VitestReport {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[] | null;
      readonly meta?: { readonly figures?: Readonly<Record<string, string | number>> };
    }[];
  }[];
}

/**
 * Counts every test once. A file that failed without a failed test (it did not load, a hook threw), a run that failed
 * outside of any test, and a run without a single test count as one failure each: none may pass unseen.
 */
export function tallyOf(report: VitestReport, root: string): Tally {
  const failures: string[] = [];
  const figures: Figures[] = [];
  let passed = 0;
  let skipped = 0;
  for (const file of report.testResults) {
    const path = file.name.replace(`${root}/`, '');
    const failedBefore = failures.length;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed += 1;
      else if (test.status === 'failed')
        failures.push(`${path} > ${test.fullName}: ${firstLine(test.failureMessages?.[0])}`);
      else skipped += 1;
      if (test.meta?.figures !== undefined) figures.push({ test: test.fullName, values: test.meta.figures });
    }
    if (file.status === 'failed' && failures.length === failedBefore)
      failures.push(`${path}: ${firstLine(file.message)}`);
  }
  if (passed + failures.length === 0) failures.push('no test ran');
  if (!report.success && failures.length === 0) failures.push('vitest failed outside of any test; see its output');
  return { passed, failed: failures.length, skipped, failures, figures };
}

export function addTallies(tallies: readonly Tally[]): Tally {
  return {
    passed: tallies.reduce((sum, { passed }) => sum + passed, 0),
    failed: tallies.reduce((sum, { failed }) => sum + failed, 0),
    skipped: tallies.reduce((sum, { skipped }) => sum + skipped, 0),
    failures: tallies.flatMap(({ failures }) => failures),
    figures: tallies.flatMap(({ figures }) => figures),
  };
}

/** One check that is not a vitest test. */
export function singleCheck(failure: string | undefined): Tally {
  const failures = failure === undefined ? [] : [failure];
  return { passed: 1 - failures.length, failed: failures.length, skipped: 0, failures, figures: [] };
}

function firstLine(text: string | undefined): string {
  return (text ?? 'no reason given').split('\n')[0] ?? '';
}
