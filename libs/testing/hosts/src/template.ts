import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { execute, run } from './exec.ts';

/**
 * Keeps the images of an engine's data directory for hosts to come. Layers are hard-linked, for they are never written
 * in place (overlayfs copies up); their small metadata are copied. Take it while no container exists.
 */
export async function copyImages(from: string, to: string): Promise<void> {
  mkdirSync(to, { recursive: true });
  await linkTree(join(from, 'overlay2'), join(to, 'overlay2'));
  cpSync(join(from, 'image'), join(to, 'image'), { recursive: true, preserveTimestamps: true });
}

async function linkTree(from: string, to: string): Promise<void> {
  const linked = await execute(['cp', '-al', from, to]);
  if (linked.code === 0) return;
  // Another file system takes no hard links.
  await run(['rm', '-rf', to]);
  await run(['cp', '-a', from, to]);
}
