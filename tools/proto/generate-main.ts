// npm run generate: brings libs/contracts/src/gen up to date with proto/, touching only the files that change.
import { cpSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { differences } from './differences.ts';
import { generate, generatedDir } from './generate.ts';

const out = mkdtempSync(join(tmpdir(), 'berth-generate-'));
try {
  generate(out);
  const changed = differences(out, generatedDir);
  for (const file of changed) {
    rmSync(join(generatedDir, file), { force: true });
    if (globSync(file, { cwd: out }).length > 0) cpSync(join(out, file), join(generatedDir, file), { recursive: true });
  }
  console.log(
    changed.length === 0
      ? 'libs/contracts/src/gen is up to date'
      : `wrote ${changed.length} files: ${changed.join(', ')}`,
  );
} finally {
  rmSync(out, { recursive: true, force: true });
}
