import { spawn } from 'node:child_process';
import { join } from 'node:path';

let guarded = false;

/**
 * Starts, once per process, a helper that waits for this process to end, in whatever way, and then clears what it left
 * on the machine. It waits on a pipe that only this process holds open: the kernel closes it even after `kill -9`.
 */
export function startGuard(): void {
  if (guarded) return;
  guarded = true;
  // A waiting shell costs 1 MB where a waiting Node would cost 40.
  const script = 'read -r _; exec "$@"';
  const guard = spawn('sh', ['-c', script, 'sh', process.execPath, join(import.meta.dirname, 'sweep-main.ts')], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // A session of its own: an interrupt from the terminal ends the test run, not its guard.
    detached: true,
    // Not this process's working directory, which may be gone by then.
    cwd: '/',
  });
  guard.unref();
  // A pipe is a socket to Node, and would keep the process alive.
  if ('unref' in guard.stdin && typeof guard.stdin.unref === 'function') guard.stdin.unref();
}
