import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where downloaded and built parts of images are kept, for all checkouts of the user: BERTH_CACHE_DIR, by default
 * ~/.cache/berth. Everything in it can be made again and may be deleted at any time.
 */
export function cacheDirectory(): string {
  const path =
    process.env['BERTH_CACHE_DIR'] || join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'berth');
  mkdirSync(path, { recursive: true });
  return path;
}

/** A short name for a list of inputs: the same inputs give the same name, on any machine. */
export function contentKey(inputs: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const input of inputs) hash.update(`${input.length}:`).update(input);
  return hash.digest('hex').slice(0, 16);
}
