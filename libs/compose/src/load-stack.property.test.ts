import { readFileSync } from 'node:fs';
import { StackSpec } from '@berth/contracts/workload';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LoadStackResult } from './index.ts';
import { renderProblems } from './index.ts';
import { deployLevel, healthcheckLevel, serviceLevel, topLevel } from './keys.ts';
import { goodFiles as readGoodFiles } from './testing/good/good.ts';
import { load } from './testing/load.ts';
import { interpolate } from './text/interpolate.ts';

const goodFiles = readGoodFiles((url) => readFileSync(url, 'utf8'));

/** Whatever goes in: a spec, or problems that each name a place in the file and a remedy. */
function check(result: LoadStackResult, text: string): void {
  const lines = text.split('\n').length;
  if (result.ok) {
    const bytes = StackSpec.encode(result.spec).finish();
    expect(StackSpec.encode(StackSpec.decode(bytes)).finish()).toEqual(bytes);
    return;
  }
  expect(result.problems.length).toBeGreaterThan(0);
  for (const problem of result.problems) {
    expect(problem.line, renderProblems([problem])).toBeLessThanOrEqual(lines);
    expect(Math.min(problem.line, problem.column)).toBeGreaterThanOrEqual(1);
    expect(problem.message).not.toBe('');
    expect(problem.remedy).not.toBe('');
  }
}

const tokens = [
  ...['services:', 'web:', 'image: x', 'ports:', '- ', '  ', '\n', '\n  ', '\n    ', ': ', '{', '}', '[', ']', ','],
  ...[
    '"',
    "'",
    '&a ',
    '*a',
    '<<: ',
    '!reset ',
    '!!str ',
    '|\n',
    '>-\n',
    '#',
    `\${A}`,
    '$',
    '80:80',
    '1.5',
    '\t',
    '---\n',
  ],
  ...['? ', '%YAML 1.1\n', 'null', '~', '\u0000', '\uFEFF', 'x-berth: '],
];

test('a soup of YAML tokens is read or refused', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...tokens), { maxLength: 40 }), (parts) => {
      const text = parts.join('');
      check(load(text, { env: { A: '1' } }), text);
    }),
    { numRuns: 200 },
  );
});

test('a good file with slips in it is read or refused', () => {
  const slip = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    cut: fc.nat({ max: 12 }),
    put: fc.constantFrom('', ...tokens),
  });
  fc.assert(
    fc.property(fc.constantFrom(...goodFiles), fc.array(slip, { minLength: 1, maxLength: 4 }), (good, slips) => {
      let { text } = good;
      for (const { at, cut, put } of slips) {
        const offset = Math.floor(at * text.length);
        text = text.slice(0, offset) + put + text.slice(offset + cut);
      }
      check(load(text, good.options), text);
      check(load([good.text, text], good.options), text + good.text);
    }),
    { numRuns: 100 },
  );
});

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom('x', '80:80', '1s', '64m', 'host', 'data:/data', 'A=b', '', 'no', 'db', 'node.role == worker'),
    fc.integer({ min: -2, max: 70_000 }),
    fc.double({ noNaN: true }),
    fc.boolean(),
    fc.constant(null), // YAML's own null
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(
      fc.constantFrom(
        'web',
        'A',
        'type',
        'target',
        'source',
        'limits',
        'memory',
        'test',
        'condition',
        'external',
        'x-berth',
        '__proto__',
      ),
      tie('any'),
      { maxKeys: 3 },
    ),
  ),
})).any;

const keyNames = (level: { supported: readonly string[] }) => fc.constantFrom(...level.supported);

test('any value under any key is read or refused', () => {
  const deploy = fc.dictionary(keyNames(deployLevel), value, { maxKeys: 3 });
  const healthcheck = fc.dictionary(keyNames(healthcheckLevel), value, { maxKeys: 3 });
  const service = fc
    .tuple(fc.dictionary(keyNames(serviceLevel), value, { maxKeys: 5 }), fc.option(deploy), fc.option(healthcheck))
    .map(([keys, deployed, checked]) => ({
      image: 'x',
      ...(deployed && { deploy: deployed }),
      ...(checked && { healthcheck: checked }),
      ...keys,
    }));
  const file = fc
    .tuple(
      fc.dictionary(fc.constantFrom('web', 'db'), fc.oneof(service, value)),
      fc.dictionary(keyNames(topLevel), value, { maxKeys: 1 }),
    )
    .map(([services, top]) => ({ services, ...top }));
  fc.assert(
    fc.property(file, file, (first, second) => {
      const text = JSON.stringify(first, undefined, 1);
      check(load(text), text);
      const other = JSON.stringify(second, undefined, 1);
      check(load([text, other]), text + other);
    }),
    { numRuns: 200 },
  );
});

test('the order of keys does not matter', () => {
  const service = fc.record({
    image: fc.constantFrom('a', 'b'),
    environment: fc.dictionary(fc.constantFrom('A', 'B', 'C', '1'), fc.constantFrom('x', 'y')),
    networks: fc.uniqueArray(fc.constantFrom('n', 'm', 'o')),
    ulimits: fc.dictionary(fc.constantFrom('nofile', 'nproc'), fc.nat()),
    cap_add: fc.uniqueArray(fc.constantFrom('KILL', 'CHOWN')),
  });
  const reversed = (node: unknown): unknown =>
    node !== null && typeof node === 'object' && !Array.isArray(node)
      ? Object.fromEntries(
          Object.entries(node)
            .reverse()
            .map(([key, item]) => [key, reversed(item)]),
        )
      : node;
  const bytes = (file: unknown) => {
    const result = load(JSON.stringify(file));
    if (!result.ok) throw new Error(renderProblems(result.problems));
    return StackSpec.encode(result.spec).finish();
  };
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('a', 'b', 'c'), service, { minKeys: 1 }), (services) => {
      const file = { services, networks: { n: {}, m: {}, o: {} } };
      expect(bytes(reversed(file))).toEqual(bytes(file));
    }),
  );
});

test('a variable in a file gives what it gives alone', () => {
  const template = fc.string({
    unit: fc.constantFrom('$$', `\${A}`, `\${B:-d}`, `\${A:+e}`, 'x', ' ', '-'),
    maxLength: 8,
  });
  fc.assert(
    fc.property(template, (text) => {
      const env: Record<string, string> = { A: '1' };
      const result = load(JSON.stringify({ services: { web: { image: 'x', environment: { V: text } } } }), { env });
      const alone = interpolate(text, (name) => env[name], { loneDollar: 'error' });
      expect(result.ok && result.spec.services[0]?.container?.environment).toEqual({ V: alone.text });
    }),
  );
});
