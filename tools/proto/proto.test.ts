import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { differences } from './differences.ts';
import { generate, generatedDir } from './generate.ts';

const root = resolve(import.meta.dirname, '../..');

function buf(...args: string[]): { status: number | null; output: string } {
  const run = spawnSync(join(root, 'node_modules/.bin/buf'), args, { cwd: join(root, 'proto'), encoding: 'utf8' });
  return { status: run.status, output: run.stdout + run.stderr };
}

it('regenerating changes nothing that is committed (remedy: npm run generate)', { timeout: 30_000 }, () => {
  const out = mkdtempSync(join(tmpdir(), 'berth-generate-'));
  try {
    generate(out);
    expect(differences(out, generatedDir)).toEqual([]);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});

it('buf lint finds nothing', () => {
  expect(buf('lint')).toEqual({ status: 0, output: '' });
});

it('buf format finds nothing (remedy: npm run format)', () => {
  expect(buf('format', '--diff', '--exit-code')).toEqual({ status: 0, output: '' });
});
