import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';

async function run(
  mode: string,
  signal?: NodeJS.Signals,
): Promise<{ code: number | null; log: string; tookMs: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'test-process.ts'), mode]);
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (log += String(data)));
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  let from = performance.now();
  if (signal !== undefined) {
    // A process that takes its time to start is told to stop during it.
    const awaited = mode.includes('start') ? 'test starts' : 'test runs';
    while (!log.includes(awaited)) await sleep(5);
    from = performance.now();
    child.kill(signal);
  }
  const code = await exited;
  return { code, log, tookMs: performance.now() - from };
}

describe('a process', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('lets go of everything at %s and exits 0', async (signal) => {
    const { code, log } = await run('serves', signal);
    expect(code).toBe(0);
    expect(log).toContain('let go of everything');
  });

  it('is stopped also while it starts', async () => {
    const { code, log } = await run('starts slowly', 'SIGTERM');
    expect([code, log]).toEqual([0, expect.stringContaining('let go of everything')]);
  });

  it('that was waiting to start when it was stopped exits 0, too', async () => {
    const { code, log } = await run('gives up its start', 'SIGTERM');
    expect([code, log]).toEqual([0, expect.not.stringContaining('crashed')]);
  });

  it('exits 1 when it does not stop within its limit', async () => {
    const { code, log, tookMs } = await run('stops slowly', 'SIGTERM');
    expect(code).toBe(1);
    expect(log).toContain('did not stop in time');
    expect(tookMs).toBeGreaterThan(450);
    expect(tookMs).toBeLessThan(5_000);
  });

  it('exits 0 when its work is done', async () => {
    expect((await run('is done')).code).toBe(0);
  });

  it.each([
    ['dies', 'the loop died'],
    ['dies, and waits for its loop to stop', 'the loop died'],
    ['cannot start', 'no start'],
    ['rejects', 'nobody listens'],
    ['throws', 'out of a timer'],
  ])('that %s says why, once, and exits 1', async (mode, why) => {
    const { code, log } = await run(mode);
    expect(code).toBe(1);
    expect(log.split('\n').filter((line) => line.includes('"level":"error"'))).toEqual([expect.stringContaining(why)]);
  });
});
