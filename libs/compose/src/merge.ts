import { ruleOf } from './merge-rules.ts';
import type { Report } from './problem.ts';
import type { Entry, ListNode, MapNode, Node } from './yaml/tree.ts';
import { childPath, describe } from './yaml/tree.ts';

/** Merges files by the rules of the Compose specification, the later over the earlier. */
export function mergeFiles(trees: readonly MapNode[], report: Report): MapNode | undefined {
  const [first, ...rest] = trees;
  if (first === undefined) return undefined;
  let merged: Node = clean(first);
  for (const tree of rest) merged = merge(merged, tree, [], report);
  return merged.kind === 'map' ? merged : undefined;
}

/** A value on its own: `!reset` takes entries away, `!override` has nothing to replace. */
function clean<T extends Node>(node: T): T;
function clean(node: Node): Node {
  if (node.kind === 'list') {
    return {
      kind: 'list',
      at: node.at,
      items: node.items.filter((item) => item.tag !== 'reset').map((item) => clean(item)),
    };
  }
  if (node.kind !== 'map') return { ...node, tag: undefined };
  const entries = new Map<string, Entry>();
  for (const [key, entry] of node.entries) {
    if (entry.value.tag !== 'reset') entries.set(key, { ...entry, value: clean(entry.value) });
  }
  return { kind: 'map', at: node.at, entries };
}

function merge(base: Node, over: Node, path: readonly string[], report: Report): Node {
  if (over.tag === 'override') return clean(over);
  const rule = ruleOf(path);
  if (rule?.kind === 'replace') return over.kind === 'null' ? base : clean(over);
  const [from, to] = rule === undefined ? [base, over] : [shape(base, rule), shape(over, rule)];
  // Nothing written adds nothing, except that an environment variable without a value is the shell's.
  if (to.kind === 'null') return isVariable(path) ? to : from;
  if (from.kind === 'null') return clean(to);
  if (from.kind === 'map' && to.kind === 'map') return mergeMaps(from, to, path, report);
  if (from.kind === 'list' && to.kind === 'list') {
    return mergeLists(from, to, rule?.kind === 'list' ? rule.key : undefined);
  }
  if (from.kind !== to.kind && path.at(-2) !== 'ulimits') {
    report.fail(
      to.at,
      path.reduce(childPath, ''),
      `${describe(to)} cannot be merged into ${describe(from)} of ${from.at.file}:${from.at.line}`,
      'write the same form in both files, or put !override before this value',
    );
  }
  return clean(to);
}

/** Gives the two spellings of one thing (a text or a list of it, a list of pairs or a map) one shape. */
function shape(node: Node, rule: NonNullable<ReturnType<typeof ruleOf>>): Node {
  if (rule.kind === 'list' && node.kind === 'scalar') return { kind: 'list', at: node.at, items: [node] };
  if (rule.kind === 'list' && node.kind === 'map' && rule.fromMap !== undefined) return rule.fromMap(node);
  if (rule.kind === 'map' && node.kind === 'list') return rule.fromList(node) ?? node;
  return node;
}

function isVariable(path: readonly string[]): boolean {
  return path.length === 4 && path[2] === 'environment';
}

function mergeMaps(base: MapNode, over: MapNode, path: readonly string[], report: Report): MapNode {
  const entries = new Map(base.entries);
  for (const [key, entry] of over.entries) {
    const earlier = base.entries.get(key);
    if (entry.value.tag === 'reset') entries.delete(key);
    else if (earlier === undefined) entries.set(key, { ...entry, value: clean(entry.value) });
    else entries.set(key, { keyAt: entry.keyAt, value: merge(earlier.value, entry.value, [...path, key], report) });
  }
  return { kind: 'map', at: over.at, entries };
}

function mergeLists(base: ListNode, over: ListNode, key: ((item: Node) => string | undefined) | undefined): ListNode {
  const added = clean(over).items;
  if (key === undefined) return { kind: 'list', at: over.at, items: [...base.items, ...added] };
  const items = new Map<string | symbol, Node>();
  for (const item of [...base.items, ...added]) items.set(key(item) ?? Symbol(), item);
  return { kind: 'list', at: over.at, items: [...items.values()] };
}
