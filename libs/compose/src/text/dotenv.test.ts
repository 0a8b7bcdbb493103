import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Report } from '../problem.ts';
import { parseDotenv } from './dotenv.ts';

const shell: Record<string, string> = { HOME: '/root', FROM_SHELL: 'shell' };

function read(text: string, format?: 'dotenv' | 'raw') {
  const report = new Report();
  const lookup = (name: string) => (Object.hasOwn(shell, name) ? shell[name] : undefined);
  const values = Object.fromEntries(parseDotenv({ path: '.env', text }, lookup, report, format));
  return { values, problems: report.problems() };
}

test.each([
  ['A=b', { A: 'b' }],
  ['A=', { A: '' }],
  ['  A = b  ', { A: 'b' }],
  ['A: b', { A: 'b' }],
  ['export A=b', { A: 'b' }],
  ['export =b', undefined],
  ['# A=b\n\nB=c\n', { B: 'c' }],
  ['A=b # comment', { A: 'b' }],
  ['A=b#c', { A: 'b#c' }],
  ['A=# comment', { A: '' }],
  ['A="b # c" # comment', { A: 'b # c' }],
  ["A='$HOME \\n'", { A: '$HOME \\n' }],
  ['A="$HOME"', { A: '/root' }],
  [`A=\${HOME}/x`, { A: '/root/x' }],
  ['A="\\$HOME"', { A: '$HOME' }],
  ['A="1\\n2\\t3\\"4\\\\"', { A: '1\n2\t3"4\\' }],
  ['A="1\n2"\nB=c', { A: '1\n2', B: 'c' }],
  ["A='1\n2'\nB=c", { A: '1\n2', B: 'c' }],
  ['A=1\nB=$A', { A: '1', B: '1' }],
  ['A=1\nA=2', { A: '2' }],
  ['HOME=/x\nB=$HOME', { HOME: '/x', B: '/root' }],
  ['A=a=b=c', { A: 'a=b=c' }],
  ['A=pa$5word', { A: 'pa$5word' }],
  ['FROM_SHELL', { FROM_SHELL: 'shell' }],
  ['NOWHERE', {}],
  ['A=b\r\nC=d\r\n', { A: 'b', C: 'd' }],
  ['\uFEFFA=b', { A: 'b' }],
  ['my.key-1=b', { 'my.key-1': 'b' }],
])('%j', (text, values) => {
  const result = read(text);
  if (values === undefined) expect(result.problems).toHaveLength(1);
  else expect(result).toEqual({ values, problems: [] });
});

test.each([
  ['A=1\nB="x\nC=2', 2, 3, /never closed/, /close the value/],
  ['A B=1', 1, 3, /"=" must follow the name A/, /NAME=value/],
  ['A="x" y', 1, 6, /after the closing quote/, /inside the quotes/],
  ['\nA=$NOPE', 2, 3, /NOPE is not set/, /single quotes/],
  [`A=\${NOPE:?why}`, 1, 3, /required: why/, /set NOPE/],
  ['?=x', 1, 1, /not a variable name/, /NAME=value/],
])('%j is refused', (text, line, column, message, remedy) => {
  const { problems } = read(text);
  expect(problems).toMatchObject([{ file: '.env', line, column }]);
  expect(problems[0]?.message).toMatch(message);
  expect(problems[0]?.remedy).toMatch(remedy);
});

test('raw takes every value as it stands', () => {
  expect(read('A="$HOME" # x\n# B=c\n', 'raw')).toEqual({ values: { A: '"$HOME" # x' }, problems: [] });
});

test('any value comes back out of single quotes, and any text is read without throwing', () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const safe = value.replaceAll(/[\\'\r]/g, '');
      expect(read(`A='${safe}'`)).toEqual({ values: { A: safe }, problems: [] });
      read(value);
    }),
  );
});
