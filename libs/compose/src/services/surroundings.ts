import { resolve } from 'node:path/posix';
import type { Field } from '../field.ts';
import type { Lookup } from '../text/interpolate.ts';

/** What a reader of paths and variables needs from the caller. */
export interface Surroundings {
  /** The shell's variables over those of `.env`. */
  readonly lookup: Lookup;
  /** Absolute folder that relative paths start from. */
  readonly workingDir: string;
  /** Reads a file; undefined when there is none. */
  readonly readFile: (path: string) => string | undefined;
}

/** The absolute path of a host path: `~` is the caller's home, relative ones start from the project's folder. */
export function hostPath(field: Field, source: string, { workingDir, lookup }: Surroundings): string | undefined {
  if (source !== '~' && !source.startsWith('~/')) {
    if (source.startsWith('~'))
      return field.fail(`the home of another user (${source}) is not known`, 'write the full path');
    return resolve(workingDir, source);
  }
  const home = lookup('HOME');
  if (!home?.startsWith('/')) return field.fail('HOME is not set, so "~" is not known', 'write the full path');
  return resolve(home, `.${source.slice(1)}`);
}
