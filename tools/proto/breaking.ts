// Compares the protos with those of the last release tag (v1.2.3): what N and N-1 say to each other must stay readable.
import { execFileSync, spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const tags = execFileSync('git', ['tag', '--list', 'v[0-9]*', '--sort=-version:refname', '--merged', 'HEAD'], {
  cwd: root,
  encoding: 'utf8',
});
const [last] = tags.split('\n').filter((tag) => tag !== '');
if (last === undefined) {
  console.log('buf breaking: no release tag yet, nothing to compare with');
} else {
  console.log(`buf breaking: against ${last}`);
  const against = `${root}/.git#tag=${last},subdir=proto`;
  const buf = spawnSync(`${root}/node_modules/.bin/buf`, ['breaking', '--against', against], {
    cwd: `${root}/proto`,
    stdio: 'inherit',
  });
  process.exitCode = buf.status ?? 1;
}
