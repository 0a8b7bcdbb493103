import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runStep } from './run-step.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-step-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('runStep', () => {
  it('gives the exit code', async () => {
    expect(await runStep(['sh', '-c', 'exit 3'], 5_000)).toEqual({ code: 3, timedOut: false });
  });

  it('ends the whole process group at the limit', async () => {
    const pidFile = join(dir, 'pid');
    const ended = await runStep(['sh', '-c', `sleep 60 & echo $! > ${pidFile}; wait`], 500);
    expect(ended).toEqual({ code: undefined, timedOut: true });
    const child = readFileSync(pidFile, 'utf8').trim();
    await vi.waitFor(() => expect(isRunning(child)).toBe(false));
  });

  it('says when there is no such program', async () => {
    await expect(runStep([join(dir, 'missing')], 1_000)).rejects.toThrow('ENOENT');
  });
});

/** False for a zombie too: in a container nobody may be there to reap it. */
function isRunning(pid: string): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) [ZX] /.test(readFileSync(file, 'utf8'));
}
