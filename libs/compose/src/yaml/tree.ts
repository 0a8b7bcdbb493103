import type { Position } from '../problem.ts';

/** Merge instruction of a YAML tag: `!reset` removes what earlier files said, `!override` replaces it. */
export type MergeTag = 'reset' | 'override';

interface NodeBase {
  readonly at: Position;
  readonly tag?: MergeTag | undefined;
}

export interface NullNode extends NodeBase {
  readonly kind: 'null';
}

export interface ScalarNode extends NodeBase {
  readonly kind: 'scalar';
  readonly value: string | number | boolean;
  /** As written, quotes and escapes resolved: keeps `1.10` and `0755` apart from 1.1 and 755. */
  readonly text: string;
  /** Where it stands in its file's text, to find a `${VARIABLE}` inside it. */
  readonly range: { readonly start: number; readonly end: number };
  /** A variable in it could not be filled in, which is reported: nothing more is said of this value. */
  readonly incomplete?: boolean;
}

export interface ListNode extends NodeBase {
  readonly kind: 'list';
  readonly items: readonly Node[];
}

export interface Entry {
  readonly keyAt: Position;
  readonly value: Node;
}

export interface MapNode extends NodeBase {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, Entry>;
}

/** A YAML value that knows its place. */
export type Node = NullNode | ScalarNode | ListNode | MapNode;

/** What a user would call the node. */
export function describe(node: Node): string {
  switch (node.kind) {
    case 'null':
      return 'nothing';
    case 'list':
      return 'a list';
    case 'map':
      return 'a map';
    case 'scalar':
      switch (typeof node.value) {
        case 'number':
          return `the number ${node.text}`;
        case 'boolean':
          return `the boolean ${node.text}`;
        default:
          return `the text "${shorten(node.text)}"`;
      }
  }
}

/** A text short enough to be quoted in a message. */
export function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > 60 ? `${line.slice(0, 57)}...` : line;
}

/** Path of a key below another: `services.web`, or `labels["a.b"]` where a dot would mislead. */
export function childPath(path: string, key: string): string {
  if (!/^[\w-]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}

/** Makes a text node at another node's place. */
export function textNode(text: string, from: Node): ScalarNode {
  const range = from.kind === 'scalar' ? from.range : { start: 0, end: 0 };
  return { kind: 'scalar', at: from.at, value: text, text, range };
}
