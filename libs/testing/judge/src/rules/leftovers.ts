import type { Violation } from '../observation.ts';

/** What stands on a host or in the store, by kind: one line a thing. */
export type Inventory = Readonly<Record<string, readonly string[]>>;

/** Where → what stands there. */
export type Inventories = ReadonlyMap<string, Inventory>;

/** Nothing stands that did not before. Of equal lines there may be as many as before. */
export function judgeLeftovers(before: Inventories, now: Inventories): Violation[] {
  return [...now].flatMap(([where, inventory]) =>
    Object.entries(inventory).flatMap(([kind, lines]) =>
      surplusOf(before.get(where)?.[kind] ?? [], lines).map(
        (line): Violation => ({ rule: 'leftover', where, what: `${kind}: ${line}` }),
      ),
    ),
  );
}

/** The other way round as well: devices, rules and routes that were there before are there again. */
export function judgeSame(before: Inventories, now: Inventories): Violation[] {
  const gone = judgeLeftovers(now, before).map(({ where, what }): Violation => {
    return { rule: 'touched', where, what: `gone: ${what}` };
  });
  return [...judgeLeftovers(before, now), ...gone];
}

function surplusOf(before: readonly string[], now: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of before) left.set(line, (left.get(line) ?? 0) + 1);
  return now.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}
