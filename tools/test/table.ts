import type { Tally } from './vitest-report.ts';

/** Steps as aligned text: name, counts, seconds. */
export function table(rows: readonly { name: string; tally: Tally; seconds: number }[]): string {
  const cells = rows.map(({ name, tally, seconds }) => [
    name,
    String(tally.passed),
    String(tally.failed),
    String(tally.skipped),
    seconds.toFixed(1),
  ]);
  const all = [['step', 'passed', 'failed', 'skipped', 'seconds'], ...cells];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all
    .map((row) =>
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))),
    )
    .map((row) => row.join('  '))
    .join('\n');
}
