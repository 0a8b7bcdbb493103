import { globSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { missingPaths, pathsNamedIn } from './paths.ts';

const root = resolve(import.meta.dirname, '../..');

test('links and code are found, other code and other places are not', () => {
  const text = [
    'See [here](../apps/cli/README.md#usage), [there](https://example.com/libs/x), `libs/kernel/src/ports/` and',
    '`npm test`, `berth up`, `deploy/{a,b}.ts`, `apps/<app>`; [this page](#words).',
    '```sh',
    'ls `tools/not/a/path`',
    '```',
  ].join('\n');
  const paths = pathsNamedIn('docs/page.md', text).map(({ path }) => path);
  expect(paths).toEqual(['apps/cli/README.md', 'libs/kernel/src/ports/', 'deploy/{a,b}.ts']);
});

test('a path that does not exist is reported', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-docs-'));
  mkdirSync(join(folder, 'docs'));
  writeFileSync(
    join(folder, 'docs/page.md'),
    'In `docs/page.md`, `docs/*.md` and `libs/gone.ts`; see [that](gone.md).',
  );
  expect(missingPaths(folder, ['docs/page.md'])).toEqual([
    { page: 'docs/page.md', path: 'docs/gone.md' },
    { page: 'docs/page.md', path: 'libs/gone.ts' },
  ]);
  rmSync(folder, { recursive: true });
});

test('every path that the pages name exists', () => {
  // Decisions and reports tell of their day.
  const pattern = ['README.md', 'docs/*.md', '{apps,libs,deploy,examples}/**/README.md'];
  const pages = globSync(pattern, { cwd: root, exclude: ['**/node_modules'] });
  expect(pages).toContain('docs/architecture.md');
  expect(missingPaths(root, pages)).toEqual([]);
});
