import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Files, relative to both folders and sorted, that stand in only one of them or differ in content. */
export function differences(left: string, right: string): string[] {
  const files = new Set([left, right].flatMap((dir) => globSync('**/*.ts', { cwd: dir })));
  return [...files].filter((file) => content(left, file) !== content(right, file)).sort();
}

function content(dir: string, file: string): string | undefined {
  const path = join(dir, file);
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
