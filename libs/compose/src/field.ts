import type { Level } from './keys.ts';
import { unknownKey } from './keys.ts';
import type { Position, Report } from './problem.ts';
import type { Parsed } from './text/units.ts';
import type { MapNode, Node } from './yaml/tree.ts';
import { childPath, describe } from './yaml/tree.ts';

/**
 * A value of the merged file with its path and place. Reading it as the wrong type reports a problem and gives
 * undefined, so that reading goes on and every problem of the file is found.
 */
export class Field {
  readonly node: Node;
  /** Path for messages, e.g. `services.web.ports[0]`. */
  readonly path: string;
  /** Place of the key; of the value where there is no key. */
  readonly keyAt: Position;
  readonly report: Report;

  constructor(node: Node, path: string, report: Report, keyAt: Position = node.at) {
    this.node = node;
    this.path = path;
    this.keyAt = keyAt;
    this.report = report;
  }

  /** Reports a problem at this value. Returns undefined, so that a reader can end with it. */
  fail(message: string, remedy: string): undefined {
    if (this.node.kind === 'scalar' && this.node.incomplete) return;
    this.report.fail(this.node.at, this.path, message, remedy);
  }

  warn(message: string): void {
    this.report.warn(this.node.at, this.path, message);
  }

  /** Nothing is written where the value should be. */
  get isNull(): boolean {
    return this.node.kind === 'null';
  }

  /** The value under a key; undefined when it is not there or nothing is written. */
  get(key: string): Field | undefined {
    const field = this.#entry(key);
    return field === undefined || field.isNull ? undefined : field;
  }

  #entry(key: string): Field | undefined {
    const entry = this.node.kind === 'map' ? this.node.entries.get(key) : undefined;
    if (entry === undefined) return undefined;
    return new Field(entry.value, childPath(this.path, key), this.report, entry.keyAt);
  }

  /** All entries of a map in the order of the file. Nothing written is an empty map. */
  entries(expected: 'a map' | 'a list or a map' = 'a map'): [string, Field][] {
    if (this.isNull) return [];
    if (this.node.kind !== 'map') {
      this.#wrong(expected);
      return [];
    }
    const fields: [string, Field][] = [];
    for (const [key, entry] of this.node.entries) {
      fields.push([key, new Field(entry.value, childPath(this.path, key), this.report, entry.keyAt)]);
    }
    return fields;
  }

  /** The items of a list. Nothing written is an empty list. */
  items(expected: 'a list' | 'a text or a list' = 'a list'): Field[] {
    if (this.isNull) return [];
    if (this.node.kind !== 'list') {
      this.#wrong(expected);
      return [];
    }
    return this.node.items.map((item, index) => new Field(item, `${this.path}[${index}]`, this.report));
  }

  /** The items of a list, or the value itself where one value may stand for a list of one. */
  oneOrMany(): Field[] {
    return this.node.kind === 'scalar' ? [this] : this.items('a text or a list');
  }

  /** Checks that this is a map and reports every key that this place does not know or Berth does not support. */
  keys(level: Level): boolean {
    if (this.isNull) return true;
    if (this.node.kind !== 'map') {
      this.#wrong('a map');
      return false;
    }
    for (const [key, entry] of this.node.entries) {
      const verdict = unknownKey(key, level);
      const path = childPath(this.path, key);
      if (verdict !== undefined && this.report.lenient) {
        this.report.warn(entry.keyAt, path, `${verdict.message}: skipped, it has no effect`);
      } else if (verdict !== undefined) this.report.fail(entry.keyAt, path, verdict.message, verdict.remedy);
      if (key === 'x-berth') this.#refuseBerthKeys(entry.value);
    }
    return true;
  }

  /** `x-berth` is for Berth's own settings: a mistyped one must not be ignored. It has none today. */
  #refuseBerthKeys(node: Node): void {
    const path = childPath(this.path, 'x-berth');
    const remedy = 'remove it; this version of Berth defines no settings there';
    if (node.kind === 'map') {
      for (const [key, entry] of node.entries) {
        this.report.fail(entry.keyAt, childPath(path, key), `unknown key "${key}" under x-berth`, remedy);
      }
    } else if (node.kind !== 'null') {
      this.report.fail(node.at, path, `expected a map, got ${describe(node)}`, remedy);
    }
  }

  /** A text; numbers and booleans are taken as texts only where `scalar` says so. */
  string(): string | undefined {
    if (this.node.kind === 'scalar' && typeof this.node.value === 'string') return this.node.value;
    return this.#wrong('a text', this.node.kind === 'scalar' ? 'put the value in quotes' : undefined);
  }

  /** A text that may not be empty. */
  filled(): string | undefined {
    const text = this.string();
    return text === '' ? this.fail('the value is empty', 'write a value or remove the key') : text;
  }

  /** A text, number or boolean as text. A number that YAML would rewrite is passed on as written. */
  scalar(): string | undefined {
    if (this.node.kind !== 'scalar') return this.#wrong('a text');
    const { value, text } = this.node;
    if (typeof value === 'boolean') return String(value);
    if (typeof value === 'number' && String(value) !== text) {
      this.warn(`${text} is passed on as written, not as the number ${value}; put it in quotes to say so`);
    }
    return text;
  }

  /** A whole number within bounds, also written as a text (variables give texts). */
  integer(min: number, max: number): number | undefined {
    const text = this.node.kind === 'scalar' && typeof this.node.value !== 'boolean' ? this.node.text.trim() : '';
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(value)) return this.#wrong('a whole number');
    if (value < min || value > max) {
      return this.fail(`${text} is out of range`, `use a whole number from ${min} to ${max}`);
    }
    return value;
  }

  /** A boolean, also as one of the words that Compose takes for one. */
  boolean(): boolean | undefined {
    if (this.node.kind === 'scalar') {
      if (typeof this.node.value === 'boolean') return this.node.value;
      const word = this.node.text.toLowerCase();
      if (['true', 'yes', 'on', 'y'].includes(word)) return true;
      if (['false', 'no', 'off', 'n'].includes(word)) return false;
    }
    return this.#wrong('true or false');
  }

  /** A text or number read by one of the parsers of units. */
  parsed<T>(parse: (text: string) => Parsed<T>): T | undefined {
    if (this.node.kind !== 'scalar' || typeof this.node.value === 'boolean') return this.#wrong('a text');
    const result = parse(this.node.text.trim());
    return result.ok ? result.value : this.fail(result.message, result.remedy);
  }

  /** One of a few words. */
  oneOf<T extends string>(words: readonly T[]): T | undefined {
    const text = this.string();
    if (text === undefined) return undefined;
    const word = words.find((candidate) => candidate === text);
    return word ?? this.fail(`"${text}" is not known here`, `use one of: ${words.join(', ')}`);
  }

  /** The texts of a list. */
  strings(): string[] {
    return this.items().flatMap((item) => item.string() ?? []);
  }

  #wrong(expected: string, remedy?: string): undefined {
    const article = expected === 'true or false' ? 'write true or false' : `write ${expected} here`;
    return this.fail(`expected ${expected}, got ${describe(this.node)}`, remedy ?? article);
  }
}

/** The top of a merged file. */
export function rootField(tree: MapNode, report: Report): Field {
  return new Field(tree, '', report);
}
