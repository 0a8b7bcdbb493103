// npm run lock: brings package-lock.json up to date with every package.json, all platforms named.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { LockedPackages } from './platforms.ts';
import { missingPlatforms } from './platforms.ts';

const root = resolve(import.meta.dirname, '../..');
const file = join(root, 'package-lock.json');
execFileSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, stdio: 'inherit' });
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: LockedPackages };
const missing = missingPlatforms(lock.packages);
const sorted = Object.entries({ ...lock.packages, ...missing }).sort(([a], [b]) => (a < b ? -1 : 1));
writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, undefined, 2)}\n`);
console.log(`package-lock.json: ${sorted.length} packages, ${Object.keys(missing).length} platforms added by name`);
