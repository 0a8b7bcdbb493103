// Gives every project its Nx targets, so that no project repeats them: a project is a folder whose package.json has an
// "nx" section. Nx loads this file through `plugins` in nx.json.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { CreateNodes, TargetConfiguration } from 'nx/src/devkit-exports.js';

/** What a target that looks at sources depends on: the project's own files and those of the projects it uses. */
const sources = ['default', '^default'];

export const createNodes: CreateNodes = [
  '{apps,deploy,e2e,examples,libs,tools}/**/package.json',
  (files, _options, { workspaceRoot }) =>
    files
      .filter((file) => isProject(join(workspaceRoot, file)))
      .map((file) => {
        const root = dirname(file);
        return [file, { projects: { [root]: { targets: targetsOf(root, workspaceRoot) } } }] as const;
      }),
];

function isProject(file: string): boolean {
  return 'nx' in (JSON.parse(readFileSync(file, 'utf8')) as object);
}

function targetsOf(root: string, workspaceRoot: string): Record<string, TargetConfiguration> {
  const has = (pattern: string): boolean =>
    globSync(join(root, pattern), { cwd: workspaceRoot, exclude: ['**/node_modules'] }).length > 0;
  const targets: Record<string, TargetConfiguration> = {
    lint: command(`biome check ${root}`, { inputs: ['default'] }),
    typecheck: command(`tsc -p ${root}/tsconfig.json`, { inputs: sources }),
  };
  if (has('**/!(*.it|*.e2e).test.ts')) {
    targets['test'] = command(`vitest run --project unit ${root}`, { inputs: sources });
  }
  // Real etcd, NATS and Docker take part: never cached, never two at a time.
  if (has('**/*.it.test.ts')) targets['it'] = command(`vitest run --project it ${root}`, uncached);
  if (has('**/*.e2e.test.ts')) targets['e2e'] = command(`vitest run --project e2e ${root}`, uncached);
  if (existsSync(join(workspaceRoot, root, 'src/main.ts')) && root.startsWith('apps/')) {
    const output = `dist/${relative('apps', root)}`;
    targets['build'] = command(`node tools/build/bundle.ts ${root} ${output}`, {
      inputs: sources,
      outputs: [`{workspaceRoot}/${output}`],
    });
  }
  return targets;
}

const uncached: Partial<TargetConfiguration> = { cache: false, parallelism: false };

function command(line: string, more: Partial<TargetConfiguration>): TargetConfiguration {
  return { command: line, options: { cwd: '{workspaceRoot}' }, cache: true, ...more };
}
