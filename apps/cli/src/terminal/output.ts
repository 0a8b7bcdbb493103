import type { WriteStream } from 'node:tty';
import pc from 'picocolors';

/** How results are shown: tables for people, JSON for programs. */
export type OutputFormat = 'table' | 'json';

export interface Terminal {
  readonly format: OutputFormat;
  /** Colours for standard output: off when it is no terminal, or with NO_COLOR. */
  readonly colors: ReturnType<typeof pc.createColors>;
  /** Standard output is a terminal. */
  readonly interactive: boolean;
  readonly columns: number;
  /** The result: the value as JSON, or what `render` makes of it. */
  result<T>(value: T, render: (value: T) => string): void;
  /** A line of the result in a stream of them; as JSON one object a line. */
  line(value: unknown, text: string): void;
  /** Progress and remarks, on standard error; nothing with JSON. */
  note(text: string): void;
  /** Errors, on standard error. */
  error(text: string): void;
}

export function createTerminal(format: OutputFormat): Terminal {
  const stdout = process.stdout as Partial<WriteStream>;
  const interactive = stdout.isTTY === true;
  const colors = pc.createColors(interactive && process.env['NO_COLOR'] === undefined);
  const write = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  return {
    format,
    colors,
    interactive,
    columns: stdout.columns ?? 120,
    result(value, render) {
      write(format === 'json' ? JSON.stringify(value, undefined, 2) : render(value));
    },
    line(value, text) {
      write(format === 'json' ? JSON.stringify(value) : text);
    },
    note(text) {
      if (format === 'table') process.stderr.write(`${text}\n`);
    },
    error(text) {
      process.stderr.write(`${text}\n`);
    },
  };
}
