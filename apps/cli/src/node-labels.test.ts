import { expect, it } from 'vitest';
import { labelChanges } from './node-labels.ts';

it('sets and removes', () => {
  expect(labelChanges(['disk=ssd', 'zone-', 'a=b=c', 'empty='])).toEqual({
    set: { disk: 'ssd', a: 'b=c', empty: '' },
    remove: ['zone'],
  });
});

it.each([[['disk']], [['=x']], [['-']], [['a=1', 'a-']], [['a=1', 'a=2']], [['a b=1']]])('refuses %j', (words) => {
  expect(() => labelChanges(words)).toThrow(/label/u);
});
