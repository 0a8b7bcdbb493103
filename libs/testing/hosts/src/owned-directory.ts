import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { startGuard } from './guard.ts';

/**
 * Everything this library makes on the machine is recorded in a directory that names its owner, the process that made
 * it. A run that crashed leaves its directory behind; the next run finds it by its dead owner and clears what it
 * records. A pid alone could have been used again, so the owner's start time is part of its name.
 */
export interface Owner {
  readonly pid: number;
  /** In clock ticks since the machine's boot: field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

export interface OwnedDirectory {
  readonly kind: string;
  readonly path: string;
}

export interface FoundDirectory extends OwnedDirectory {
  readonly owner: Owner | undefined;
  /** Does its owner live? */
  readonly running: boolean;
}

const ownerFile = 'owner.json';
/** A directory is filled under this prefix and renamed when its owner is recorded, so that none is ever seen without. */
const unfinished = '.new-';

export function stateRoot(): string {
  return process.env['BERTH_TEST_DIR'] ?? join(tmpdir(), 'berth-test');
}

/** The start time of a process, or undefined when there is none with this pid (a zombie counts as none). */
export function processStartTime(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The command's name, in parentheses, may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? undefined : fields[19];
}

export function isRunning(owner: Owner): boolean {
  return processStartTime(owner.pid) === owner.startTime;
}

export function thisProcess(): Owner {
  return { pid: process.pid, startTime: processStartTime(process.pid) ?? '' };
}

/** Makes a new directory owned by this process, named after its kind (`lab`, `server`, `link`). */
export function createOwnedDirectory(kind: string): OwnedDirectory {
  startGuard();
  const name = `${kind}-${randomBytes(4).toString('hex')}`;
  const path = join(stateRoot(), name);
  const draft = join(stateRoot(), unfinished + name);
  mkdirSync(draft, { recursive: true });
  writeFileSync(join(draft, ownerFile), JSON.stringify(thisProcess()));
  renameSync(draft, path);
  return { kind, path };
}

export function removeOwnedDirectory(directory: OwnedDirectory): void {
  // What a process that is just ending still writes makes a folder not empty after all: tried again for a while.
  rmSync(directory.path, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

/**
 * Makes a directory whose owner is gone this process's own, so that of several runs that find it only one clears it:
 * a name in it may be in use again once it is cleared. False: another run was faster.
 */
export function takeOver(directory: OwnedDirectory): boolean {
  const draft = join(stateRoot(), unfinished + basename(directory.path));
  try {
    renameSync(directory.path, draft);
  } catch {
    return false;
  }
  writeFileSync(join(draft, ownerFile), JSON.stringify(thisProcess()));
  renameSync(draft, directory.path);
  return true;
}

/** The directories whose owners are gone. */
export function abandonedDirectories(): FoundDirectory[] {
  return ownedDirectories().filter(({ running }) => !running);
}

export function ownedDirectories(): FoundDirectory[] {
  let names: string[];
  try {
    names = readdirSync(stateRoot());
  } catch {
    return [];
  }
  return names
    .filter((name) => !name.startsWith('.') && name.includes('-'))
    .map((name) => {
      const path = join(stateRoot(), name);
      const owner = readOwner(path);
      return {
        kind: name.slice(0, name.lastIndexOf('-')),
        path,
        owner,
        running: owner !== undefined && isRunning(owner),
      };
    });
}

function readOwner(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(join(path, ownerFile), 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}
