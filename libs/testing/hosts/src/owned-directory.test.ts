import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  abandonedDirectories,
  createOwnedDirectory,
  isRunning,
  processStartTime,
  removeOwnedDirectory,
  takeOver,
  thisProcess,
} from './owned-directory.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-owned-'));
  vi.stubEnv('BERTH_TEST_DIR', root);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true });
});

function disown(path: string, owner: unknown): void {
  writeFileSync(join(path, 'owner.json'), JSON.stringify(owner));
}

test('a process is known by its start, so that a pid used again is not mistaken for it', () => {
  const self = thisProcess();
  expect(isRunning(self)).toBe(true);
  expect(isRunning({ ...self, startTime: '1' })).toBe(false);
  const ended = spawnSync('true');
  expect(processStartTime(ended.pid)).toBeUndefined();
});

test('a directory with a living owner is left alone, one without is abandoned, of whatever kind', () => {
  const [mine, dead, unreadable] = ['lab', 'etcd', 'link'].map(createOwnedDirectory);
  if (!mine || !dead || !unreadable) throw new Error('three directories');
  expect(basename(mine.path)).toMatch(/^lab-[0-9a-f]{8}$/);
  disown(dead.path, { ...thisProcess(), startTime: '1' });
  writeFileSync(join(unreadable.path, 'owner.json'), '');
  const abandoned = abandonedDirectories();
  expect(abandoned.map(({ kind, path }) => [kind, path]).sort()).toEqual([
    ['etcd', dead.path],
    ['link', unreadable.path],
  ]);
});

test('of several runs that find an abandoned directory one takes it over', () => {
  const directory = createOwnedDirectory('lab');
  disown(directory.path, { pid: 1, startTime: 'never' });
  const [found] = abandonedDirectories();
  if (!found) throw new Error('not found');
  expect(takeOver(found)).toBe(true);
  expect(abandonedDirectories()).toEqual([]);
  removeOwnedDirectory(found);
  expect(existsSync(directory.path)).toBe(false);
  expect(takeOver(found)).toBe(false);
});
