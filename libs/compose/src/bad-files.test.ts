import { describe, expect, test } from 'vitest';
import { renderProblems } from './index.ts';
import { containers } from './testing/bad/containers.ts';
import { keys } from './testing/bad/keys.ts';
import { ports } from './testing/bad/ports.ts';
import { references } from './testing/bad/references.ts';
import { resources } from './testing/bad/resources.ts';
import { syntax } from './testing/bad/syntax.ts';
import { types } from './testing/bad/types.ts';
import { variables } from './testing/bad/variables.ts';
import { load } from './testing/load.ts';

describe.each([
  ['syntax', syntax],
  ['keys', keys],
  ['types', types],
  ['variables', variables],
  ['references', references],
  ['ports', ports],
  ['resources', resources],
  ['containers', containers],
])('bad files: %s', (_, table) => {
  test.each(table)('$name: lenient too says so, at the same place', ({ text, options }) => {
    const strict = load(text, options);
    const lenient = load(text, { ...options, lenient: true });
    const said = [...(lenient.ok ? [] : lenient.problems), ...lenient.warnings].map(({ line }) => line);
    expect(said).toContain(strict.ok ? 0 : strict.problems[0]?.line);
  });
  test.each(table)('$name', ({ text, key, message, remedy, options }) => {
    const result = load(text, options);
    if (result.ok) throw new Error('was accepted');
    const hereAt = text.split('\n').findIndex((line) => line.endsWith('# here'));
    const shown = renderProblems(result.problems);
    expect(result.problems, shown).toHaveLength(1);
    const [problem] = result.problems;
    expect(problem, shown).toMatchObject({ file: 'compose.yaml', key });
    expect(problem?.message).toMatch(message);
    expect(problem?.remedy).toMatch(remedy);
    if (hereAt >= 0) expect(problem?.line, shown).toBe(hereAt + 1);
    expect(problem?.column).toBeGreaterThan(0);
  });
});

test('all problems come at once, in the order of the file', () => {
  const result = load('services:\n  web:\n    imag: x\n    ports: ["0:1"]\n    restart: x\n  db:\n    image: $NOPE\n');
  if (result.ok) throw new Error('was accepted');
  expect(result.problems.map(({ line, key }) => [line, key])).toEqual([
    [2, 'services.web'],
    [3, 'services.web.imag'],
    [5, 'services.web.restart'],
    [7, 'services.db.image'],
  ]);
});

test('problems are shown as file:line:column, key, message and remedy', () => {
  const result = load('services:\n  web:\n    image: nginx\n    restart: sometimes\n');
  if (result.ok) throw new Error('was accepted');
  expect(renderProblems(result.problems)).toBe(
    'compose.yaml:4:14: services.web.restart: "sometimes" is not a restart policy\n' +
      '  remedy: use one of: "no", always, on-failure, on-failure:3, unless-stopped\n',
  );
});
