import type { Position, Report } from '../problem.ts';
import { SourceText } from '../yaml/source-text.ts';
import type { Lookup, TemplateError } from './interpolate.ts';
import { interpolate } from './interpolate.ts';

/** A text file as the caller read it. */
export interface SourceFile {
  /** As the user would write it: it stands in every message. */
  readonly path: string;
  readonly text: string;
}

const linePattern = /^[ \t]*(?:export[ \t]+)?([^=:\s]*)[ \t]*([=:]?)[ \t]*/;
const keyPattern = /^[A-Za-z0-9_.-]+$/;

/**
 * Reads a dotenv file as docker compose does: `KEY=value` (also `KEY: value` and `export KEY=value`), `#` comments,
 * 'literal' and "escaped" values over several lines, variables in unquoted and double-quoted values (looked up in
 * `lookup`, then in the lines above). A bare `KEY` takes `lookup`'s value, or is left out.
 */
export function parseDotenv(
  file: SourceFile,
  lookup: Lookup,
  report: Report,
  format: 'dotenv' | 'raw' = 'dotenv',
): Map<string, string> {
  report.file(file.path);
  return new DotenvReader(file, lookup, report, format === 'raw').read();
}

class DotenvReader {
  readonly #source: SourceText;
  readonly #text: string;
  readonly #lookup: Lookup;
  readonly #report: Report;
  readonly #raw: boolean;
  readonly #values = new Map<string, string>();
  #at = 0;

  constructor(file: SourceFile, lookup: Lookup, report: Report, raw: boolean) {
    this.#text = file.text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
    this.#source = new SourceText(file.path, this.#text);
    this.#lookup = (name) => lookup(name) ?? this.#values.get(name);
    this.#report = report;
    this.#raw = raw;
  }

  read(): Map<string, string> {
    while (this.#at < this.#text.length) this.#line();
    return this.#values;
  }

  #line(): void {
    const start = this.#at;
    const end = this.#lineEnd(start);
    const line = this.#text.slice(start, end);
    this.#at = end + 1;
    if (/^\s*(#|$)/.test(line)) return;
    const [head = '', key = '', separator = ''] = linePattern.exec(line) ?? [];
    if (!keyPattern.test(key)) {
      this.#fail(start, key, `"${key}" is not a variable name`, 'write the line as NAME=value');
      return;
    }
    if (separator === '') {
      const rest = line.slice(head.length);
      if (rest !== '' && !rest.startsWith('#')) {
        this.#fail(start + head.length, key, `"=" must follow the name ${key}`, 'write the line as NAME=value');
        return;
      }
      const inherited = this.#lookup(key);
      if (inherited !== undefined) this.#values.set(key, inherited);
      return;
    }
    const value = this.#value(key, start + head.length, end);
    if (value !== undefined) this.#values.set(key, value);
  }

  #value(key: string, start: number, end: number): string | undefined {
    if (this.#raw) return this.#text.slice(start, end);
    const quote = this.#text.charAt(start);
    if (quote !== '"' && quote !== "'") {
      const plain = this.#text
        .slice(start, end)
        .replace(/(^|\s)#.*$/, '')
        .trim();
      return this.#fill(key, plain, start);
    }
    const close = this.#closingQuote(quote, start + 1);
    if (close < 0) {
      this.#fail(start, key, `the quote that opens here is never closed`, `close the value with ${quote}`);
      this.#at = this.#text.length;
      return undefined;
    }
    const lineEnd = this.#lineEnd(close);
    this.#at = lineEnd + 1;
    const rest = this.#text.slice(close + 1, lineEnd);
    if (!/^\s*(#.*)?$/.test(rest)) {
      this.#fail(close + 1, key, 'text after the closing quote', 'put the whole value inside the quotes');
      return undefined;
    }
    const inner = this.#text.slice(start + 1, close);
    if (quote === "'") return inner.replaceAll("\\'", "'");
    return this.#fill(key, resolveEscapes(inner), start);
  }

  #closingQuote(quote: string, from: number): number {
    for (let index = from; index < this.#text.length; index += 1) {
      const char = this.#text.charAt(index);
      if (char === '\\') index += 1;
      else if (char === quote) return index;
    }
    return -1;
  }

  #fill(key: string, template: string, offset: number): string {
    const { text, errors } = interpolate(template, this.#lookup, { loneDollar: 'literal' });
    for (const error of errors) {
      const { message, remedy } = describeTemplateError(error, 'put the value in single quotes');
      this.#fail(offset, key, message, remedy);
    }
    return text;
  }

  #lineEnd(from: number): number {
    const end = this.#text.indexOf('\n', from);
    return end < 0 ? this.#text.length : end;
  }

  #fail(offset: number, key: string, message: string, remedy: string): void {
    const at: Position = this.#source.position(offset);
    this.#report.fail(at, key, message, remedy);
  }
}

/** `\$` becomes `$$`, which interpolation turns into a plain dollar sign. */
function resolveEscapes(text: string): string {
  return text.replaceAll(/\\([nrt"'\\$])/g, (_, char: string) => {
    const escapes: Record<string, string> = { n: '\n', r: '\r', t: '\t', $: '$$' };
    return escapes[char] ?? char;
  });
}

/** Message and remedy for a template that could not be filled in. */
export function describeTemplateError(
  error: TemplateError,
  literalRemedy: string,
): { readonly message: string; readonly remedy: string } {
  switch (error.kind) {
    case 'unset':
      return {
        message: `the variable ${error.name} is not set`,
        remedy: `set ${error.name} in the shell or in .env, or give a default: \${${error.name}:-default}; for a literal dollar sign ${literalRemedy}`,
      };
    case 'required':
      return {
        message: `the variable ${error.name} is required${error.message === '' ? '' : `: ${error.message}`}`,
        remedy: `set ${error.name} in the shell or in .env`,
      };
    case 'syntax':
      return {
        message: `bad variable "${error.reference}": ${error.message}`,
        remedy: `write variables as \${NAME} or \${NAME:-default}; for a literal dollar sign ${literalRemedy}`,
      };
  }
}
