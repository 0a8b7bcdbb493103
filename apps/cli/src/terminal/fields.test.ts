import { expect, it } from 'vitest';
import { fieldsText } from './fields.ts';

it('shows what there is, indented', () => {
  const value = {
    name: 'web',
    empty: '',
    none: [],
    ports: [80, 443],
    deep: { a: 1, b: { c: true }, nothing: { at: undefined, all: {} } },
    list: [{ x: 1, y: 2 }, { x: 3 }],
  };
  expect(fieldsText(value)).toBe(`name: web
ports: 80, 443
deep:
  a: 1
  b:
    c: true
list:
  - x: 1
    y: 2
  - x: 3`);
});
