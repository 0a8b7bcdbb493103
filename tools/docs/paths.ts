import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** A file or folder that a page names, from the repository's root. */
export interface NamedPath {
  readonly page: string;
  readonly path: string;
}

const ownFolder = /^(apps|libs|proto|deploy|docs|e2e|bench|examples|tools)\/[\w./{},*-]*$/;

/** All paths of this repository that a Markdown page names: links to files, and code that begins with a folder of ours. */
export function pathsNamedIn(page: string, text: string): NamedPath[] {
  const prose = text.replaceAll(/^```.*?^```/gms, '');
  const links = [...prose.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => relative('.', join(dirname(page), target)));
  const code = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span).filter((span) => ownFolder.test(span));
  return [...new Set([...links, ...code])].map((path) => ({ page, path }));
}

/** Those of them that do not exist; a pattern must match something. */
export function missingPaths(root: string, pages: readonly string[]): NamedPath[] {
  return pages
    .flatMap((page) => pathsNamedIn(page, readFileSync(join(root, page), 'utf8')))
    .filter(({ path }) => globSync(path, { cwd: root }).length === 0);
}
