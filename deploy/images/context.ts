import { copyFileSync, cpSync, globSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundles.ts';
import { contentKey } from './cache.ts';
import type { ImageRecipe } from './catalogue.ts';
import { checkout } from './paths.ts';

export { checkout } from './paths.ts';

/** Puts all that goes into an image into a folder of its own, the context of its build, and returns the path. */
export async function stage(recipe: ImageRecipe, staging: string): Promise<string> {
  const context = join(staging, recipe.name.replace('/', '-'));
  cpSync(join(checkout, recipe.folder), context, { recursive: true });
  for (const file of recipe.files ?? []) cpSync(join(checkout, file), join(context, file));
  if (recipe.app !== undefined) await bundle(recipe.app, join(context, 'app'));
  return context;
}

/** Names an image's content: what its context holds and what it is based on. */
export function imageKey(context: string, base: string): string {
  const files = globSync('**/*', { cwd: context, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return contentKey([base, ...files.flatMap((file) => [file.slice(context.length), readFileSync(file)])]);
}

export function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    // Another file system takes no hard links.
    copyFileSync(from, to);
  }
}

export async function inStagingFolder<T>(work: (path: string) => Promise<T>): Promise<T> {
  const parent = join(checkout, '.cache/images');
  mkdirSync(parent, { recursive: true });
  // Always equally deep: paths relative to it get into bundles, and with them into the content's key.
  const folder = mkdtempSync(join(parent, 'stage-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
