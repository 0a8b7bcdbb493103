import fc from 'fast-check';
import { expect, it } from 'vitest';
import { chooseProbers } from './probers.ts';

const node = (nodeId: string, manager = false) => ({ nodeId, manager });

it('asks two others, on other hosts than the leader where there are any', () => {
  expect(chooseProbers('b', [node('a', true), node('c'), node('d')], 0)).toEqual(['c', 'd']);
  expect(chooseProbers('b', [node('a', true), node('c')], 3)).toEqual(['c', 'a']);
  expect(chooseProbers('b', [node('a', true)], 0)).toEqual(['a']);
  expect(chooseProbers('b', [], 0)).toEqual([]);
});

it('never the node itself, never one twice, and in time each of a small circle', () => {
  const ids = fc.uniqueArray(fc.stringMatching(/^[a-f]{1,3}$/u), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(ids, fc.nat(100), (names, round) => {
      const [target = ''] = names;
      const ready = names.map((id) => node(id));
      const chosen = chooseProbers(target, ready, round);
      expect(chosen).toHaveLength(Math.min(2, names.length - 1));
      expect(new Set(chosen).size).toBe(chosen.length);
      expect(chosen).not.toContain(target);
      const circle = new Set(Array.from({ length: 6 }, (_, i) => chooseProbers(target, ready, i)).flat());
      expect(circle.size).toBe(Math.min(6, names.length - 1));
    }),
  );
});
