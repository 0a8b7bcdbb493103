import type { Alias, Document, YAMLError, YAMLMap, Node as YamlNode } from 'yaml';
import { isAlias, isMap, isScalar, isSeq, parseDocument, Scalar, visit } from 'yaml';
import type { Position, Report } from '../problem.ts';
import type { SourceText } from './source-text.ts';
import type { Entry, MapNode, MergeTag, Node } from './tree.ts';
import { childPath, describe } from './tree.ts';

/** Longest file that is read, in UTF-16 units. A stack spec may not exceed 1 MiB either. */
export const fileLengthMax = 1024 * 1024;
/** Deepest nesting of lists and maps. */
const depthMax = 64;
/** Most values of one file after its aliases are expanded: stops a "billion laughs" file. */
const nodesMax = 200_000;

const standardTags = ['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((tag) => `tag:yaml.org,2002:${tag}`);

/** Parses one Compose file; undefined when it has no usable content (the report says why). */
export function parseYaml(source: SourceText, report: Report): MapNode | undefined {
  const whole = { file: source.path, line: 1, column: 1 };
  if (source.text.length > fileLengthMax) {
    report.fail(whole, '', 'the file is longer than 1 MiB', 'split the stack into smaller stacks');
    return undefined;
  }
  const document = parseText(source, report);
  if (document === undefined) return undefined;
  reportSyntax(document, source, report);
  if (document.errors.length > 0) return undefined;
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    report.fail(whole, '', 'the file is empty', 'declare at least one service under `services:`');
    return undefined;
  }
  const converter = new Converter(source, document, report);
  const tree = converter.convert(document.contents, '');
  if (converter.overflown) return undefined;
  if (tree.kind === 'map') return tree;
  report.fail(
    tree.at,
    '',
    `expected a map at the top of the file, got ${describe(tree)}`,
    'start the file with `services:`',
  );
  return undefined;
}

function parseText(source: SourceText, report: Report): Document | undefined {
  try {
    return parseDocument(source.text, {
      version: '1.2',
      schema: 'core',
      uniqueKeys: false, // the converter names both places
      prettyErrors: false,
      logLevel: 'error',
    });
  } catch (error) {
    // The parser recurses: thousands of nested brackets exhaust the stack, mostly where it turns that into an error.
    if (!(error instanceof RangeError)) throw error;
    reportDepth({ file: source.path, line: 1, column: 1 }, '', report);
    return undefined;
  }
}

function reportDepth(at: Position, path: string, report: Report): void {
  report.fail(at, path, 'the file is nested too deeply', `keep lists and maps within ${depthMax} levels`);
}

/** One problem a line, as one slip makes the parser stumble over all that follows it on the line. */
function reportSyntax(document: Document, source: SourceText, report: Report): void {
  const lines = new Set<number>();
  const exhausted = document.errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  if (exhausted !== undefined) {
    reportDepth(source.position(exhausted.pos[0]), '', report);
    return;
  }
  for (const error of document.errors) {
    const { line } = source.position(error.pos[0]);
    const isEcho = lines.size > 0 && error.message.includes('token in YAML stream');
    if (!lines.has(line) && !isEcho) reportSyntaxError(error, document, source, report);
    lines.add(line);
  }
}

function reportSyntaxError(error: YAMLError, document: Document, source: SourceText, report: Report): void {
  const quote = error.code === 'MISSING_CHAR' ? openQuote(document, error.pos[0]) : undefined;
  if (quote !== undefined) {
    const char = source.text.charAt(quote);
    report.fail(source.position(quote), '', `YAML syntax: the ${char} is never closed`, `close the value with ${char}`);
    return;
  }
  const remedies: Record<string, string> = {
    TAB_AS_INDENT: 'indent with spaces instead of tabs',
    BAD_INDENT: 'align the line with its siblings; close every bracket',
    BLOCK_AS_IMPLICIT_KEY: 'put the nested map on lines of its own, or quote a value that contains ": "',
    MISSING_CHAR: 'add the missing character, usually a `:` after the key or a closing quote',
    MULTIPLE_DOCS: 'keep one document in a file and pass several files with several -f',
    BAD_SCALAR_START: 'put the value in quotes',
    BAD_DQ_ESCAPE: 'write a literal backslash as `\\\\`, or use single quotes',
    UNEXPECTED_TOKEN: "check the quotes; a single quote inside single quotes is written ''",
  };
  const message = error.message.charAt(0).toLowerCase() + error.message.slice(1);
  report.fail(
    source.position(error.pos[0]),
    '',
    `YAML syntax: ${message}`,
    remedies[error.code] ?? 'correct the YAML syntax of this line',
  );
}

/** Where a quoted value starts that runs to the end of the text: the quote is missing there, not at the end. */
function openQuote(document: Document, end: number): number | undefined {
  let start: number | undefined;
  visit(document, {
    Scalar(_, node) {
      const quoted = node.type === Scalar.QUOTE_DOUBLE || node.type === Scalar.QUOTE_SINGLE;
      if (quoted && node.range && node.range[0] < end && node.range[1] >= end) start = node.range[0];
    },
  });
  return start;
}

/** What each alias stands for: the nearest anchor of its name above it. (The parser's own look-up reads the whole file.) */
function aliasTargets(document: Document): Map<YamlNode, YamlNode> {
  const anchors = new Map<string, YamlNode>();
  const targets = new Map<YamlNode, YamlNode>();
  visit(document, {
    Alias(_, node) {
      const target = anchors.get(node.source);
      if (target !== undefined) targets.set(node, target);
    },
    Value(_, node) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}

/** Turns the parser's tree into ours: aliases and merge keys expanded, tags checked, places kept. */
class Converter {
  readonly #source: SourceText;
  readonly #targets: ReadonlyMap<YamlNode, YamlNode>;
  readonly #report: Report;
  readonly #open = new Set<YamlNode>();
  #nodes = 0;
  /** The file has more values than are read; the tree is not whole. */
  overflown = false;

  constructor(source: SourceText, document: Document, report: Report) {
    this.#source = source;
    this.#targets = aliasTargets(document);
    this.#report = report;
  }

  convert(node: unknown, path: string): Node {
    const at = this.#at(node);
    if (this.overflown) return { kind: 'null', at };
    this.#nodes += 1;
    if (this.#nodes > nodesMax) {
      this.overflown = true;
      this.#report.fail(at, path, `the file expands to more than ${nodesMax} values`, 'use fewer YAML aliases');
    }
    if (isAlias(node)) return this.#alias(node, path, at);
    if (isScalar(node)) return this.#scalar(node, path, at);
    if (!isMap(node) && !isSeq(node)) return { kind: 'null', at };
    if (this.#open.size >= depthMax) {
      reportDepth(at, path, this.#report);
      return { kind: 'null', at };
    }
    const tag = this.#tag(node, path, at);
    this.#open.add(node);
    try {
      if (isMap(node)) return { kind: 'map', at, tag, entries: this.#entries(node, path) };
      return { kind: 'list', at, tag, items: node.items.map((item, index) => this.convert(item, `${path}[${index}]`)) };
    } finally {
      this.#open.delete(node);
    }
  }

  #alias(node: Alias, path: string, at: Position): Node {
    const target = this.#targets.get(node);
    if (target === undefined) {
      this.#report.fail(at, path, `no anchor &${node.source} above this alias`, `define &${node.source} first`);
      return { kind: 'null', at };
    }
    if (this.#open.has(target)) {
      this.#report.fail(at, path, `the alias *${node.source} contains itself`, 'remove the alias from its own anchor');
      return { kind: 'null', at };
    }
    return this.convert(target, path);
  }

  #scalar(node: Scalar, path: string, at: Position): Node {
    const tag = this.#tag(node, path, at);
    const { value } = node;
    if (value === null || value === undefined || (tag !== undefined && isNullText(node))) {
      return { kind: 'null', at, tag };
    }
    const plain = typeof value === 'number' || typeof value === 'boolean' ? value : String(value);
    const text = typeof plain === 'string' ? plain : (node.source ?? String(plain));
    if (text.includes('\0')) {
      this.#report.fail(at, path, 'the value holds a zero byte, which no program can be given', 'remove the \\0');
    }
    const [start, end] = node.range ?? [0, 0];
    return { kind: 'scalar', at, tag, value: plain, text, range: { start, end } };
  }

  #entries(map: YAMLMap, path: string): Map<string, Entry> {
    const own = new Map<string, Entry>();
    const merged = new Map<string, Entry>();
    for (const pair of map.items) {
      const keyAt = this.#at(pair.key);
      const key = this.#key(pair.key, path, keyAt);
      if (key === undefined) continue;
      if (key === '<<' && isScalar(pair.key) && pair.key.type === Scalar.PLAIN) {
        this.#mergeKey(this.convert(pair.value, path), path, merged);
        continue;
      }
      const earlier = own.get(key);
      if (earlier !== undefined) {
        this.#report.fail(
          keyAt,
          childPath(path, key),
          `the key "${key}" appears twice in one map, first on line ${earlier.keyAt.line}`,
          'remove or rename one of the two',
        );
        continue;
      }
      own.set(key, { keyAt, value: this.#valueAt(pair.value, keyAt, childPath(path, key)) });
    }
    for (const [key, entry] of merged) if (!own.has(key)) own.set(key, entry);
    return own;
  }

  /** A missing value stands where its key stands. */
  #valueAt(value: unknown, keyAt: Position, path: string): Node {
    const node = this.convert(value, path);
    return node.kind === 'null' ? { ...node, at: keyAt } : node;
  }

  #key(key: unknown, path: string, at: Position): string | undefined {
    const node = isAlias(key) ? this.#targets.get(key) : key;
    if (isScalar(node) && node.value !== null) {
      return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
    }
    this.#report.fail(at, path, 'a key must be a text', 'write the key as a plain word or in quotes');
    return undefined;
  }

  /** `<<: *base` and `<<: [*first, *second]`: earlier maps win over later ones, own keys win over all. */
  #mergeKey(value: Node, path: string, into: Map<string, Entry>): void {
    for (const node of value.kind === 'list' ? value.items : [value]) {
      if (node.kind !== 'map') {
        this.#report.fail(
          node.at,
          childPath(path, '<<'),
          `expected a map or a list of maps to merge, got ${describe(node)}`,
          'write `<<: *anchor` where &anchor is a map',
        );
        continue;
      }
      for (const [key, entry] of node.entries) if (!into.has(key)) into.set(key, entry);
    }
  }

  #tag(node: { readonly tag?: string | undefined }, path: string, at: Position): MergeTag | undefined {
    if (node.tag === undefined || standardTags.includes(node.tag)) return undefined;
    if (node.tag === '!reset') return 'reset';
    if (node.tag === '!override') return 'override';
    this.#report.fail(at, path, `unknown YAML tag ${node.tag}`, 'remove the tag; Compose knows !reset and !override');
    return undefined;
  }

  #at(node: unknown): Position {
    const range = isAlias(node) || isScalar(node) || isMap(node) || isSeq(node) ? node.range : undefined;
    return this.#source.position(range?.[0] ?? 0);
  }
}

function isNullText(node: Scalar): boolean {
  return node.type === Scalar.PLAIN && /^(|~|null|Null|NULL)$/.test(node.source ?? '');
}
