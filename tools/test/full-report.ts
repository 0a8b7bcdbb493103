import type { Tally } from './vitest-report.ts';

export interface Machine {
  readonly commit: string;
  readonly node: string;
  readonly kernel: string;
  readonly cores: number;
  readonly memoryGiB: number;
}

export interface FullReport {
  readonly name: string;
  readonly what: string;
  readonly began: Date;
  readonly seconds: number;
  readonly machine: Machine;
  readonly tally: Tally;
}

/** The Markdown that `npm run test:full -- PART` leaves in docs/reports. */
export function fullReport({ name, what, began, seconds, machine, tally }: FullReport): string {
  const lines = [
    `# Full run of \`${name}\`: ${what}`,
    '',
    `Written by \`npm run test:full -- ${name}\`; the next run overwrites it.`,
    '',
    '| | |',
    '|---|---|',
    `| date | ${began.toISOString()} |`,
    `| commit | ${machine.commit} |`,
    `| machine | ${machine.cores} cores, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${machine.node} |`,
    `| duration | ${seconds.toFixed(0)} s |`,
    `| result | ${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped |`,
  ];
  if (tally.failures.length > 0) lines.push('', '## Failures', '', ...tally.failures.map((failure) => `- ${failure}`));
  if (tally.figures.length > 0) {
    lines.push('', '## Figures', '', '| test | figure | value |', '|---|---|---|');
    for (const { test, values } of tally.figures) {
      for (const [figure, value] of Object.entries(values)) lines.push(`| ${test} | ${figure} | ${value} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}
