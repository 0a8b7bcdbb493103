import type { Terminal } from './output.ts';

/** Lines that are drawn over and over on a terminal; elsewhere only lines that are new are printed. */
export interface LiveArea {
  show(lines: readonly string[]): void;
}

export function liveArea(terminal: Terminal, stream: NodeJS.WriteStream = process.stderr): LiveArea {
  if (terminal.format === 'json') return { show: () => undefined };
  return stream.isTTY ? redrawn(stream) : appended(stream);
}

function redrawn(stream: NodeJS.WriteStream): LiveArea {
  let drawn = 0;
  let last = '';
  return {
    show(lines) {
      // What does not fit on the screen can't be drawn over.
      const fitting = lines.slice(0, Math.max(1, (stream.rows ?? 24) - 2));
      const more = lines.length - fitting.length;
      const shown = more > 0 ? [...fitting, `… and ${more} more`] : fitting;
      const text = shown.map((line) => `\u001b[2K${line}\n`).join('');
      if (text === last) return;
      last = text;
      stream.write((drawn > 0 ? `\u001b[${drawn}A\u001b[0J` : '') + text);
      drawn = shown.length;
    },
  };
}

function appended(stream: NodeJS.WriteStream): LiveArea {
  let before = new Set<string>();
  return {
    show(lines) {
      for (const line of lines) if (!before.has(line)) stream.write(`${line}\n`);
      before = new Set(lines);
    },
  };
}
