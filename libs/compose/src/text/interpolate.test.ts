import fc from 'fast-check';
import { expect, test } from 'vitest';
import { interpolate } from './interpolate.ts';

const values: Record<string, string> = { SET: 'value', EMPTY: '', A: 'a', NUM: '8080' };
const lookup = (name: string) => (Object.hasOwn(values, name) ? values[name] : undefined);
const fill = (template: string) => interpolate(template, lookup, { loneDollar: 'error' });

test.each([
  ['no variable', 'no variable'],
  ['$SET', 'value'],
  ['<$SET>', '<value>'],
  ['$SET.$A-$A_', undefined],
  [`\${SET}s`, 'values'],
  ['$$SET', '$SET'],
  ['$$$SET', '$value'],
  [`$\${SET}`, `\${SET}`],
  [`\${EMPTY}`, ''],
  [`\${NONE:-d}`, 'd'],
  [`\${NONE-d}`, 'd'],
  [`\${EMPTY:-d}`, 'd'],
  [`\${EMPTY-d}`, ''],
  [`\${SET:-d}`, 'value'],
  [`\${SET:+x}`, 'x'],
  [`\${EMPTY:+x}`, ''],
  [`\${EMPTY+x}`, 'x'],
  [`\${NONE+x}`, ''],
  [`\${NONE:+x}`, ''],
  [`\${SET:?must}`, 'value'],
  [`\${EMPTY?must}`, ''],
  [`\${NONE:-\${A}-\${NUM:-1}}`, 'a-8080'],
  [`\${NONE:-\${OTHER:-deep}}`, 'deep'],
  [`\${SET:-\${OTHER}}`, 'value'],
  [`\${NONE:-{"a":{"b":1}}}`, '{"a":{"b":1}}'],
  [`\${NONE:-a:b-c?d+e}`, 'a:b-c?d+e'],
  [`\${NONE:-}`, ''],
])('%s gives %s', (template, expected) => {
  const { text, errors } = fill(template);
  if (expected === undefined) expect(errors).not.toEqual([]);
  else expect({ text, errors }).toEqual({ text: expected, errors: [] });
});

test.each([
  ['$NONE', { kind: 'unset', name: 'NONE', reference: '$NONE' }],
  [`a\${NONE}b`, { kind: 'unset', name: 'NONE', reference: `\${NONE}` }],
  [`\${SET:+$NONE}`, { kind: 'unset', name: 'NONE' }],
  [`\${EMPTY:?why}`, { kind: 'required', name: 'EMPTY', message: 'why' }],
  [`\${NONE?}`, { kind: 'required', name: 'NONE', message: '' }],
  [`\${SET`, { kind: 'syntax' }],
  [`\${}`, { kind: 'syntax' }],
  [`\${A:-\${B:-\${C`, { kind: 'syntax', reference: `\${C` }],
  [`\${A:-`.repeat(1000), { kind: 'syntax', message: /too deeply/ }],
  [`\${SET!x}`, { kind: 'syntax' }],
  [`\${1}`, { kind: 'syntax' }],
  ['cost: $5', { kind: 'syntax', reference: '$5' }],
  ['$', { kind: 'syntax' }],
])('%s is refused', (template, error) => {
  expect(fill(template).errors).toMatchObject([error]);
});

test('a dotenv file may hold a lone dollar sign', () => {
  expect(interpolate('p$5', lookup, { loneDollar: 'literal' })).toEqual({ text: 'p$5', errors: [] });
});

test('a text with every dollar sign doubled comes out as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'$${}:-?+AB1 _\n') }), (text) => {
      expect(fill(text.replaceAll('$', '$$$$'))).toEqual({ text, errors: [] });
    }),
  );
});

test('any text is filled in or refused, never both, and never throws', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'$${}}:-?+SETNUMA _') }), (template) => {
      const { text, errors } = fill(template);
      if (!template.includes('$')) expect(text).toBe(template);
      if (!template.includes('$')) expect(errors).toEqual([]);
    }),
  );
});
