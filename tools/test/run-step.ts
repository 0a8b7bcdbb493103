import { spawn } from 'node:child_process';

export interface Ended {
  /** Exit code; undefined when a signal or the limit ended it. */
  readonly code: number | undefined;
  readonly timedOut: boolean;
}

const killAfterMs = 20_000;
const running = new Set<number>();

/**
 * Runs a command in a process group of its own, its output on this terminal. At `limitMs` the group is told to end, and
 * killed when it does not within 20 s.
 */
export function runStep(
  argv: readonly string[],
  limitMs: number,
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    let timedOut = false;
    let kill: NodeJS.Timeout | undefined;
    if (child.pid !== undefined) running.add(child.pid);
    const limit = setTimeout(() => {
      timedOut = true;
      signalGroup(child.pid, 'SIGTERM');
      kill = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), killAfterMs);
    }, limitMs);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(limit);
      clearTimeout(kill);
      if (child.pid !== undefined) running.delete(child.pid);
      resolve({ code: code ?? undefined, timedOut });
    });
  });
}

/** Passes a signal on to the steps that run, if any. */
export function signalRunning(signal: NodeJS.Signals): void {
  for (const pid of running) signalGroup(pid, signal);
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // It has ended meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
