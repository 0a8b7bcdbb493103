import { expect, test } from 'vitest';
import { asksForJson } from './command.ts';

test.each([
  [['ps', '-o', 'json'], true],
  [['ps', '-ojson'], true],
  [['--output', 'json', 'ps'], true],
  [['ps', '--output=json'], true],
  [['ps', '-o', 'table'], false],
  [['up', '-o', 'table', '-f', 'json'], false],
  [['logs', 'json'], false],
])('%j asks for JSON: %s', (argv, json) => {
  expect(asksForJson(argv)).toBe(json);
});
