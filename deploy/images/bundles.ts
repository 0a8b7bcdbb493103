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
  cpSync(await appBundle(app), folder, { recursive: true });
}

/** Folder of an app as its image carries it, `lib/main.js` in it; made anew only if a source changed. */
export async function appBundle(app: string): Promise<string> {
  const kept = join(checkout, '.cache/images/bundles', `${app.replace('/', '-')}-${sourcesKey()}`, 'app');
  if (existsSync(kept)) utimesSync(dirname(kept), new Date(), new Date());
  else await makeBundle(app, kept);
  return kept;
}

async function makeBundle(app: string, kept: string): Promise<void> {
  const bundles = dirname(dirname(kept));
  // As deep in the checkout as where it is kept, for paths relative to it get into the bundle.
  const folder = join(bundles, `draft-${process.pid}-${app.replace('/', '-')}`, 'app');
  await run([process.execPath, 'tools/build/bundle.ts', app, folder.slice(checkout.length + 1)], { cwd: checkout });
  for (const map of globSync('**/*.map', { cwd: folder })) rmSync(join(folder, map));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  mkdirSync(dirname(kept), { recursive: true });
  // Another run may have been faster: its bundle is the same.
  if (!existsSync(kept)) renameSync(folder, kept);
  rmSync(dirname(folder), { recursive: true, force: true });
  for (const other of globSync('*', { cwd: bundles }).map((name) => join(bundles, name))) {
    if (Date.now() - statSync(other).mtimeMs > keptForMs) rmSync(other, { recursive: true, force: true });
  }
}

function sourcesKey(): string {
  const files = globSync(sources, { cwd: checkout, exclude: ['**/node_modules', '**/dist'] }).sort();
  return contentKey(files.flatMap((file) => [file, readFileSync(join(checkout, file))]));
}
