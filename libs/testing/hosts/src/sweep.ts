import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { linkNameFile, removeLink } from './link.ts';
import type { OwnedDirectory } from './owned-directory.ts';
import { abandonedDirectories, removeOwnedDirectory, takeOver } from './owned-directory.ts';
import { removeLab } from './remove-lab.ts';

/** Removes everything that crashed runs left on the machine, and nothing of a run that lives. Returns what it removed. */
export async function sweepCrashed(): Promise<string[]> {
  const abandoned = abandonedDirectories().filter(takeOver);
  for (const directory of abandoned) await sweepOne(directory);
  return abandoned.map(({ path }) => path);
}

let swept: Promise<string[]> | undefined;

/** The same, the first time that this process asks. */
export function sweepOnce(): Promise<string[]> {
  swept ??= sweepCrashed();
  return swept;
}

async function sweepOne(directory: OwnedDirectory): Promise<void> {
  switch (directory.kind) {
    case 'link': {
      const name = readRecord(join(directory.path, linkNameFile));
      if (name === undefined) removeOwnedDirectory(directory);
      else await removeLink(directory, name);
      return;
    }
    case 'lab':
      await removeLab(directory);
      return;
    default:
      removeOwnedDirectory(directory);
  }
}

function readRecord(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
