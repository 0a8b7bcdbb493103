import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from '../system/run.ts';
import { contentKey } from './cache.ts';
import { checkout } from './paths.ts';

/** Bundles that no run has used for so long are removed. */
const keptForMs = 3_600_000;

/** All that a bundle can be made of. What comes from npm is said by the lock file. */
const sources = ['{apps,libs}/**/*.{ts,json}', 'package-lock.json', 'tools/build/bundle.ts', 'tsconfig.base.json'];

/** Puts an app, bundled into one file, into a folder of the staging folder; made anew only if a source changed. */
export async function bundle(app: string, folder: string): Promise<void> {
  // As deep in the checkout as the folder is, for paths relative to it get into the bundle.
  const kept = join(checkout, '.cache/images/bundles', `${app.replace('/', '-')}-${sourcesKey()}`, 'app');
  if (existsSync(kept)) {
    utimesSync(dirname(kept), new Date(), new Date());
    cpSync(kept, folder, { recursive: true });
    return;
  }
  await run([process.execPath, 'tools/build/bundle.ts', app, folder.slice(checkout.length + 1)], { cwd: checkout });
  for (const map of globSync('**/*.map', { cwd: folder })) rmSync(join(folder, map));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  keep(folder, kept);
}

function sourcesKey(): string {
  const files = globSync(sources, { cwd: checkout, exclude: ['**/node_modules', '**/dist'] }).sort();
  return contentKey(files.flatMap((file) => [file, readFileSync(join(checkout, file))]));
}

function keep(folder: string, kept: string): void {
  const [parent, draft] = [dirname(kept), `${kept}.${process.pid}`];
  mkdirSync(parent, { recursive: true });
  cpSync(folder, draft, { recursive: true });
  // Another run may have been faster: its bundle is the same.
  if (existsSync(kept)) rmSync(draft, { recursive: true });
  else renameSync(draft, kept);
  for (const other of globSync('*', { cwd: dirname(parent) }).map((name) => join(dirname(parent), name))) {
    if (Date.now() - statSync(other).mtimeMs > keptForMs) rmSync(other, { recursive: true, force: true });
  }
}
