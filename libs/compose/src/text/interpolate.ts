/** Finds a variable's value; undefined when it is not set. */
export type Lookup = (name: string) => string | undefined;

/** Why a template could not be filled in. */
export type TemplateError =
  | { readonly kind: 'unset'; readonly name: string; readonly reference: string }
  | { readonly kind: 'required'; readonly name: string; readonly message: string; readonly reference: string }
  | { readonly kind: 'syntax'; readonly message: string; readonly reference: string };

export interface TemplateOptions {
  /** What a `$` that starts no variable means. Compose files: an error; dotenv files: itself. */
  readonly loneDollar: 'error' | 'literal';
}

/**
 * Fills in `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`, `${NAME?message}`,
 * `${NAME:+other}`, `${NAME+other}`, nested, with `$$` for a dollar sign.
 */
export function interpolate(
  template: string,
  lookup: Lookup,
  options: TemplateOptions,
): { readonly text: string; readonly errors: readonly TemplateError[] } {
  const scanner = new Scanner(template, lookup, options);
  const text = scanner.text(true, false);
  return { text, errors: scanner.errors };
}

const nameStart = /[A-Za-z_]/;
const namePattern = /[A-Za-z_][A-Za-z0-9_]*/y;
const operatorPattern = /:?[-?+]/y;
/** Deepest nesting of `${A:-${B:-…}}`. */
const nestingMax = 32;

class Scanner {
  readonly errors: TemplateError[] = [];
  readonly #template: string;
  readonly #lookup: Lookup;
  readonly #loneDollar: 'error' | 'literal';
  #at = 0;
  #nesting = 0;

  constructor(template: string, lookup: Lookup, options: TemplateOptions) {
    this.#template = template;
    this.#lookup = lookup;
    this.#loneDollar = options.loneDollar;
  }

  /** Reads to the end, or inside braces to the closing one. Words that are not used are read but not evaluated. */
  text(used: boolean, inBraces: boolean): string {
    let out = '';
    let braces = 0;
    while (this.#at < this.#template.length) {
      const char = this.#template.charAt(this.#at);
      if (inBraces && char === '}' && braces === 0) return out;
      if (char === '$') {
        out += this.#reference(used);
        continue;
      }
      if (char === '{') braces += 1;
      if (char === '}') braces -= 1;
      out += char;
      this.#at += 1;
    }
    return out;
  }

  #reference(used: boolean): string {
    const start = this.#at;
    const next = this.#template.charAt(start + 1);
    if (next === '$') {
      this.#at += 2;
      return '$';
    }
    if (next === '{') return this.#braced(start, used);
    if (nameStart.test(next)) {
      this.#at = start + 1;
      const name = this.#match(namePattern);
      return this.#plain(name, `$${name}`, used);
    }
    this.#at += 1;
    if (this.#loneDollar === 'error') {
      this.errors.push({ kind: 'syntax', message: 'a `$` that starts no variable', reference: `$${next}` });
    }
    return '$';
  }

  #braced(start: number, used: boolean): string {
    this.#at = start + 2;
    const name = this.#match(namePattern);
    if (name === '') return this.#broken(start, 'a variable name must follow `${`');
    if (this.#template.charAt(this.#at) === '}') {
      this.#at += 1;
      return this.#plain(name, this.#template.slice(start, this.#at), used);
    }
    const operator = this.#match(operatorPattern);
    if (operator === '') return this.#broken(start, `unexpected character after \${${name}`);
    if (this.#nesting >= nestingMax) return this.#broken(start, 'variables are nested too deeply');
    const value = this.#lookup(name);
    const set = value !== undefined && (value !== '' || !operator.startsWith(':'));
    const wordUsed = used && (operator.endsWith('+') ? set : !set);
    this.#nesting += 1;
    const word = this.text(wordUsed, true);
    this.#nesting -= 1;
    if (this.#template.charAt(this.#at) !== '}') return this.#broken(start, `\${${name} is not closed`);
    this.#at += 1;
    if (!wordUsed) return operator.endsWith('+') ? '' : (value ?? '');
    if (!operator.endsWith('?')) return word;
    const reference = this.#template.slice(start, this.#at);
    this.errors.push({ kind: 'required', name, message: word, reference });
    return '';
  }

  #plain(name: string, reference: string, used: boolean): string {
    const value = this.#lookup(name);
    if (value === undefined && used) this.errors.push({ kind: 'unset', name, reference });
    return value ?? '';
  }

  #broken(start: number, message: string): string {
    // What encloses the broken reference is not closed either, which need not be said again.
    const said = this.#at > this.#template.length;
    if (!said) this.errors.push({ kind: 'syntax', message, reference: this.#template.slice(start, start + 12) });
    this.#at = this.#template.length + 1;
    return '';
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#template)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }
}
