import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process that is not mistaken for another that got its pid later. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks from the machine's boot to the process's start. */
  readonly startTime: string;
}

export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readProc(pid, 'stat');
  if (stat === undefined) return undefined;
  // The command's name, in parentheses, may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? undefined : { pid, startTime: fields[19] ?? '' };
}

export function isRunning({ pid, startTime }: ProcessIdentity): boolean {
  return identify(pid)?.startTime === startTime;
}

/** Asks a process to end, waits, and kills it when the time is over. */
export async function endProcess(identity: ProcessIdentity, patienceMs: number): Promise<void> {
  if (!isRunning(identity)) return;
  process.kill(identity.pid, 'SIGTERM');
  if (!(await ended(identity, patienceMs))) await killProcess(identity, patienceMs);
}

export async function killProcess(identity: ProcessIdentity, patienceMs: number): Promise<void> {
  if (!isRunning(identity)) return;
  process.kill(identity.pid, 'SIGKILL');
  if (!(await ended(identity, patienceMs))) throw new Error(`process ${identity.pid} does not end`);
}

async function ended(identity: ProcessIdentity, patienceMs: number): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  while (isRunning(identity)) {
    if (performance.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

/** The processes of these programs (by their file's name) with an argument that begins with this text. */
export function processesWith(programs: RegExp, argument: string): ProcessIdentity[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const [program = '', ...args] = (readProc(pid, 'cmdline') ?? '').split('\0');
      return programs.test(basename(program)) && args.some((arg) => arg.startsWith(argument));
    })
    .flatMap((pid) => identify(pid) ?? []);
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}
