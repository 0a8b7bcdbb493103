/** A place in a file. Lines and columns count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What is wrong with a Compose file, where, and what to do about it. */
export interface Problem extends Position {
  /** Path of the key, e.g. `services.web.ports[0]`; empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
  /** What the user can do; a full instruction. */
  readonly remedy: string;
}

/** Something the user should know that does not stop the deployment. */
export interface Warning extends Position {
  readonly key: string;
  readonly message: string;
}

/** Collects problems and warnings while a file is read, so that all are shown at once. */
export class Report {
  /** Keys that are not read are skipped with a warning instead of being a problem. */
  readonly lenient: boolean;
  #problems: Problem[] = [];
  #warnings: Warning[] = [];
  readonly #files: string[] = [];

  constructor(options: { readonly lenient?: boolean } = {}) {
    this.lenient = options.lenient ?? false;
  }

  /** Fixes the order in which files are listed. */
  file(path: string): void {
    if (!this.#files.includes(path)) this.#files.push(path);
  }

  fail(at: Position, key: string, message: string, remedy: string): void {
    this.#problems.push({ ...place(at), key, message, remedy });
  }

  warn(at: Position, key: string, message: string): void {
    this.#warnings.push({ ...place(at), key, message });
  }

  /** Forgets the problems and warnings of what turned out not to be used, such as a service whose profile is not active. */
  forget(key: string): void {
    this.#problems = this.#problems.filter((problem) => !isUnder(problem.key, key));
    this.#warnings = this.#warnings.filter((warning) => !isUnder(warning.key, key));
  }

  get failed(): boolean {
    return this.#problems.length > 0;
  }

  /** Problems in the order of the files and lines. */
  problems(): Problem[] {
    return this.#tidy(this.#problems);
  }

  /** Warnings in the order of the files and lines. */
  warnings(): Warning[] {
    return this.#tidy(this.#warnings);
  }

  /** A text that stands at one place but is used in several (a YAML alias) is shown once. */
  #tidy<T extends Warning>(entries: readonly T[]): T[] {
    const unique = new Map<string, T>();
    for (const entry of entries) {
      const id = `${entry.file}:${entry.line}:${entry.column}:${entry.message}`;
      if (!unique.has(id)) unique.set(id, entry);
    }
    return [...unique.values()].sort((a, b) => this.#compare(a, b));
  }

  #compare(a: Position, b: Position): number {
    return this.#rank(a.file) - this.#rank(b.file) || a.line - b.line || a.column - b.column;
  }

  #rank(file: string): number {
    const index = this.#files.indexOf(file);
    return index < 0 ? this.#files.length : index;
  }
}

function isUnder(key: string, parent: string): boolean {
  return key === parent || key.startsWith(`${parent}.`) || key.startsWith(`${parent}[`);
}

function place({ file, line, column }: Position): Position {
  return { file, line, column };
}

/** Renders problems for a terminal: `file:line:col: key: message`, then the remedy on a line of its own. */
export function renderProblems(problems: readonly Problem[]): string {
  return problems
    .map((problem) => `${renderPlace(problem)}: ${problem.message}\n  remedy: ${problem.remedy}\n`)
    .join('');
}

/** Renders warnings for a terminal, one a line. */
export function renderWarnings(warnings: readonly Warning[]): string {
  return warnings.map((warning) => `${renderPlace(warning)}: warning: ${warning.message}\n`).join('');
}

function renderPlace({ file, line, column, key }: Position & { readonly key: string }): string {
  const place = `${file}:${line}:${column}`;
  return key === '' ? place : `${place}: ${key}`;
}
