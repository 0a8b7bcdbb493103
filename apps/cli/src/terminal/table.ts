import { stripVTControlCharacters } from 'node:util';

/** Lays rows out in columns, two spaces apart; the last column is not padded. Colours do not count. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => width(line[column] ?? ''))));
  return lines
    .map((line) =>
      line
        .map((cell, column) =>
          column === line.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - width(cell) + 2),
        )
        .join('')
        .trimEnd(),
    )
    .join('\n');
}

function width(cell: string): number {
  return stripVTControlCharacters(cell).length;
}

/** `1.5 GiB`, `300 MiB`; 0 is `0`. */
export function bytesText(bytes: number): string {
  if (bytes === 0) return '0';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** step;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/u, '')} ${units[step]}`;
}

/** `8s`, `5m`, `3h`, `2d`. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}
