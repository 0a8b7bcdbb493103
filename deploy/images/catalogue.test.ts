import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { catalogue, findImage, guestbookImages, productImages } from './catalogue.ts';
import { checkout } from './context.ts';

test.each(catalogue.map((recipe) => [recipe.name, recipe] as const))('%s has a Dockerfile', (_, { folder }) => {
  expect(existsSync(join(checkout, folder, 'Dockerfile'))).toBe(true);
});

test('every image of the product and the example has a recipe', () => {
  for (const image of [...productImages, ...guestbookImages]) expect(() => findImage(image)).not.toThrow();
});

test('a name stands for all its tags, a reference for one', () => {
  expect(findImage('redis').tags).toContain('7');
  expect(findImage('redis:7').tags).toEqual(['7']);
  expect(() => findImage('redis:3')).toThrow('no recipe for an image redis:3');
});
