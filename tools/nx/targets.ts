// Gives every project its Nx targets, so that no project repeats them: a project is a folder whose package.json has an
// "nx" section. Nx loads this file through `plugins` in nx.json.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { CreateDependencies, CreateNodes, DependencyType, TargetConfiguration } from 'nx/src/devkit-exports.js';

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

/**
 * Adds what sources import to what the package.json files say: tests may use @berth/testing-hosts and others without
 * naming them there, and a change of those must run them again.
 */
export const createDependencies: CreateDependencies = (_options, { projects, filesToProcess, workspaceRoot }) => {
  const byPackage = new Map(
    Object.entries(projects).map(([name, { root }]) => [packageName(workspaceRoot, root), name]),
  );
  const dependencies = [];
  for (const [source, files] of Object.entries(filesToProcess.projectFileMap)) {
    for (const { file } of files.filter((each) => each.file.endsWith('.ts'))) {
      for (const imported of importedPackages(join(workspaceRoot, file))) {
        const target = byPackage.get(imported);
        if (target === undefined || target === source) continue;
        dependencies.push({ source, target, sourceFile: file, type: 'static' as DependencyType.static });
      }
    }
  }
  return dependencies;
};

function importedPackages(file: string): string[] {
  const imports = readFileSync(file, 'utf8').matchAll(/(?:from|import)[ (]'(@berth\/[a-z-]+)/g);
  return [...imports].map(([, name = '']) => name);
}

function packageName(workspaceRoot: string, root: string): string {
  return (JSON.parse(readFileSync(join(workspaceRoot, root, 'package.json'), 'utf8')) as { name: string }).name;
}

function isProject(file: string): boolean {
  return 'nx' in (JSON.parse(readFileSync(file, 'utf8')) as object);
}

function targetsOf(root: string, workspaceRoot: string): Record<string, TargetConfiguration> {
  const has = (pattern: string): boolean =>
    globSync(join(root, pattern), { cwd: workspaceRoot, exclude: ['**/node_modules'] }).length > 0;
  const targets: Record<string, TargetConfiguration> = {
    lint: command(`biome check --error-on-warnings ${root}`, { inputs: ['default', 'lintRules'] }),
    typecheck: command(`tsc -p ${root}/tsconfig.json`, { inputs: sources }),
  };
  if (has('**/!(*.it|*.e2e).test.ts')) {
    targets['test'] = command(`vitest run --project unit ${root}`, { inputs: [...sources, 'testSetup', 'lintRules'] });
  }
  // Real etcd, NATS and Docker take part: never cached, never two at a time.
  if (has('**/*.it.test.ts')) targets['it'] = command(`vitest run --project it ${root}`, uncached);
  if (has('**/*.e2e.test.ts')) {
    targets['e2e'] = command(`vitest run --project e2e --project hosts ${root}`, uncached);
  }
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
