// node tools/bootstrap.mjs SCRIPT.ts [ARGS…]: runs a script of this repository from nothing but a clone. Whatever Node
// runs this file (20 or newer, built-ins only), the script gets installed dependencies and the pinned Node 24.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, 'node_modules/.bin');

/** Packages in a lock file that must be installed: path → version, or "link" for a workspace. */
function packagesIn(lockFile) {
  if (!existsSync(lockFile)) return new Map();
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8'));
  const wanted = Object.entries(packages).filter(([path]) => path.includes('node_modules/'));
  return new Map(
    wanted.map(([path, { version, link, optional }]) => [path, { version: link ? 'link' : version, optional }]),
  );
}

/** Dependencies of the lock file that are missing or of another version (optional ones may be missing). */
function stalePackages() {
  const installed = packagesIn(join(root, 'node_modules/.package-lock.json'));
  const wanted = [...packagesIn(join(root, 'package-lock.json'))];
  const differs = ([path, { version, optional }]) =>
    installed.has(path) ? installed.get(path).version !== version : !optional;
  return wanted.filter(differs).map(([path]) => path);
}

function installDependencies() {
  const stale = stalePackages();
  if (stale.length === 0 && existsSync(join(bin, 'node'))) return;
  console.log(`installing dependencies (${stale.length} missing or of another version): npm ci`);
  // npm removes node_modules while it works, so it must not itself run on the Node in there.
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.endsWith('node_modules/.bin'));
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    env: { ...process.env, PATH: path.join(delimiter) },
    stdio: 'inherit',
  });
  if (npm.status !== 0) {
    console.error('npm ci failed. Remedy: see its message above; the npm registry must be reachable.');
    // `npm test` ends with a sum, whatever happened.
    if (script === 'tools/test/main.ts') console.log('0 passed, 1 failed');
    process.exit(1);
  }
}

const [script, ...args] = process.argv.slice(2);
installDependencies();
const child = spawn(join(bin, 'node'), [join(root, script), ...args], {
  env: {
    ...process.env,
    PATH: `${bin}${delimiter}${process.env.PATH ?? ''}`,
    NX_DAEMON: 'false',
    // Modules stay compiled from one program to the next.
    NODE_COMPILE_CACHE: join(root, '.cache/node'),
  },
  stdio: 'inherit',
});
// Ctrl-C reaches the child too, from the terminal; the child decides when it is done.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 128)));
