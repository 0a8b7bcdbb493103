/** One measured figure beside its reference, both from the same run. */
export interface Row {
  readonly bench: string;
  readonly case: string;
  /** Median of the rounds. */
  readonly value: number;
  readonly unit: string;
  /** What it is compared with; empty for a figure that stands alone. */
  readonly reference: string;
  /** Median of the reference's rounds. */
  readonly referenceValue?: number;
  /** `value / referenceValue`. */
  readonly ratio?: number;
  /** Lowest and highest of the rounds. */
  readonly spread: readonly [number, number];
  readonly rounds: number;
  /** What was aimed at, in words; empty where nothing was. */
  readonly goal: string;
}

export interface RowOptions {
  readonly bench: string;
  readonly case: string;
  readonly unit: string;
  readonly goal?: string;
  readonly samples: readonly number[];
  readonly reference?: { readonly name: string; readonly samples: readonly number[] };
}

/** The row of a case: medians, their ratio, and the spread. Throws without a sample. */
export function rowOf({ bench, case: name, unit, goal = '', samples, reference }: RowOptions): Row {
  const value = median(samples);
  const referenceValue = reference && median(reference.samples);
  return {
    bench,
    case: name,
    value,
    unit,
    reference: reference?.name ?? '',
    ...(referenceValue === undefined ? {} : { referenceValue, ratio: value / referenceValue }),
    spread: [Math.min(...samples), Math.max(...samples)],
    rounds: samples.length,
    goal,
  };
}

/** The middle value, or the mean of the two in the middle. */
export function median(samples: readonly number[]): number {
  if (samples.length === 0) throw new Error('no sample was taken');
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}

const headings = ['case', 'value', 'spread', 'unit', 'reference', 'its value', 'ratio', 'goal'];

/** A Markdown table, which reads well on a terminal too. */
export function tableOf(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.case,
    number(row.value),
    `${number(row.spread[0])}–${number(row.spread[1])} (${row.rounds})`,
    row.unit,
    row.reference,
    row.referenceValue === undefined ? '' : number(row.referenceValue),
    row.ratio === undefined ? '' : row.ratio.toFixed(2),
    row.goal,
  ]);
  const widths = headings.map((heading, i) => Math.max(heading.length, ...cells.map((line) => line[i]?.length ?? 0)));
  const line = (columns: readonly string[]): string =>
    `| ${columns.map((text, i) => text.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  return [line(headings), line(widths.map((width) => '-'.repeat(width))), ...cells.map(line)].join('\n');
}

/** Three digits that count. */
function number(value: number): string {
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 3));
}
