import { expect, test } from 'vitest';
import { contentKey } from './cache.ts';

test('a key depends on every input and on where one ends', () => {
  expect(contentKey(['ab', 'c'])).toBe(contentKey(['ab', 'c']));
  expect(contentKey(['ab', 'c'])).not.toBe(contentKey(['a', 'bc']));
  expect(contentKey(['ab', 'c'])).not.toBe(contentKey(['ab', 'd']));
  expect(contentKey([])).not.toBe(contentKey(['']));
});
