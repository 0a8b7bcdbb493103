import type { Field } from '../field.ts';

/** One `key=value` of a map or list; `value` is undefined where only the key is written. */
export interface Pair {
  readonly key: string;
  readonly value: string | undefined;
  readonly field: Field;
}

/** Reads what Compose allows as a map (`KEY: value`) or a list (`- KEY=value`). */
export function readPairs(field: Field): Pair[] {
  if (field.node.kind === 'list') {
    return field.items().flatMap((item): Pair[] => {
      const text = item.scalar();
      if (text === undefined) return [];
      const split = text.indexOf('=');
      const key = split < 0 ? text : text.slice(0, split);
      if (key === '') {
        item.fail(`"${text}" has no name before the "="`, 'write the item as NAME=value');
        return [];
      }
      return [{ key, value: split < 0 ? undefined : text.slice(split + 1), field: item }];
    });
  }
  return field.entries('a list or a map').flatMap(([key, entry]): Pair[] => {
    if (entry.isNull) return [{ key, value: undefined, field: entry }];
    const value = entry.scalar();
    return value === undefined ? [] : [{ key, value, field: entry }];
  });
}

/** A record with its keys in order, so that the same file always encodes to the same bytes. */
export function sortedRecord(entries: Iterable<readonly [string, string]>): Record<string, string> {
  return Object.fromEntries([...entries].sort(([a], [b]) => compareText(a, b)));
}

/** Order by code units: the same on every machine. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Labels: an absent value is an empty one. */
export function readLabels(field: Field | undefined): Record<string, string> {
  if (field === undefined) return {};
  const labels = new Map<string, string>();
  for (const pair of readPairs(field)) {
    if (pair.key.startsWith('berth.')) {
      pair.field.fail('labels that start with "berth." are reserved', 'use a prefix of your own');
    }
    labels.set(pair.key, pair.value ?? '');
  }
  return sortedRecord(labels);
}

/** Options of a driver: a map of texts and numbers. */
export function readOptions(field: Field | undefined): Record<string, string> {
  if (field === undefined) return {};
  return sortedRecord(
    field.entries().map(([key, entry]) => [key, entry.isNull ? '' : (entry.scalar() ?? '')] as const),
  );
}
