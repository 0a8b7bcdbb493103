import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { createLab, saveTemplate } from '@berth/testing-hosts';
import { buildImages, imageReferences } from './build.ts';
import { cacheDirectory, contentKey } from './cache.ts';
import type { Progress } from './debian-layers.ts';

const templatesKept = 2;

/**
 * A folder with which test hosts start their engines with these images in place (`createLab({ template })`), kept in the
 * cache until an input of an image changes. A new one starts from the last, so that only what changed is built.
 */
export async function imageTemplate(
  images: readonly string[],
  onProgress: Progress = () => undefined,
): Promise<string> {
  const parent = join(cacheDirectory(), 'templates');
  mkdirSync(parent, { recursive: true });
  const folder = join(parent, contentKey(await imageReferences(images)));
  if (!existsSync(folder)) await makeTemplate(images, parent, folder, onProgress);
  utimesSync(folder, new Date(), new Date());
  for (const old of templates(parent).slice(templatesKept)) rmSync(old, { recursive: true, force: true });
  return folder;
}

async function makeTemplate(
  images: readonly string[],
  parent: string,
  folder: string,
  onProgress: Progress,
): Promise<void> {
  const [last] = templates(parent);
  const lab = await createLab({ hosts: 1, template: last });
  const draft = mkdtempSync(join(parent, '.new-'));
  try {
    const [host] = lab.hosts;
    if (!host) throw new Error('the lab has no host');
    await buildImages({ images, dockerHost: host.dockerHost, onProgress });
    await saveTemplate(host, draft);
    moveUnlessThere(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
    await lab.down();
  }
}

/** Another test run may have made the same meanwhile: the first stays, as hosts may have started from it. */
function moveUnlessThere(draft: string, folder: string): void {
  try {
    renameSync(draft, folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

/** The newest first. */
function templates(parent: string): string[] {
  return readdirSync(parent)
    .filter((name) => !name.startsWith('.'))
    .map((name) => join(parent, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
}
