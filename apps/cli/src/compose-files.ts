import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { SourceFile } from '@berth/compose';
import { composeFileNames, loadStack, overrideFileNames, renderProblems, renderWarnings } from '@berth/compose';
import type { StackSpec } from '@berth/contracts/workload';
import type { Command } from 'commander';
import { CliError, exitCode } from './exit-code.ts';
import type { Terminal } from './terminal/output.ts';

export interface ComposeOptions {
  readonly file?: readonly string[];
  readonly projectName?: string;
  readonly projectDirectory?: string;
  readonly envFile?: readonly string[];
  readonly profile?: readonly string[];
  readonly namespace: string;
  readonly lenient: boolean;
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** The options of `docker compose` that say which files and how. */
export function addComposeOptions(command: Command): Command {
  return command
    .option('-f, --file <path>', 'Compose file; several are merged (default: compose.yaml and its override)', collect)
    .option('-p, --project-name <name>', "stack's name (default: the file's `name:`, else its folder)")
    .option('--project-directory <path>', 'folder that relative paths start from')
    .option('--env-file <path>', 'file with variables to interpolate (default: .env beside the file)', collect)
    .option('--profile <name>', 'turns on services of a profile', collect)
    .option('-n, --namespace <name>', 'namespace', 'default')
    .option(
      '--lenient',
      'skip keys that Berth does not know, each with a warning, instead of refusing the file',
      false,
    );
}

/** Reads and checks the Compose files; what is wrong with them ends the command with exit code 2 before anything is applied. */
export function loadSpec(options: ComposeOptions, terminal: Terminal): StackSpec {
  const files = chosenFiles(options).map(readSource);
  const workingDir = resolve(options.projectDirectory ?? dirname(resolve(files[0]?.path ?? '.')));
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value;
  const loaded = loadStack({
    files,
    env,
    dotenv: dotenvFiles(options, workingDir),
    readFile: (path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined),
    projectName: options.projectName,
    profiles: options.profile,
    workingDir,
    namespace: options.namespace,
    lenient: options.lenient,
  });
  if (loaded.warnings.length > 0) {
    const { warnings } = loaded;
    terminal.error(terminal.format === 'json' ? JSON.stringify({ warnings }) : renderWarnings(warnings).trimEnd());
  }
  if (loaded.ok) return loaded.spec;
  const count = loaded.problems.length;
  throw new CliError(
    exitCode.badInput,
    `${renderProblems(loaded.problems).trimEnd()}\n${count} problem${count === 1 ? '' : 's'}; nothing was applied`,
  );
}

function chosenFiles(options: ComposeOptions): readonly string[] {
  if (options.file !== undefined) return options.file;
  const folder = options.projectDirectory ?? '.';
  const find = (names: readonly string[]): string[] =>
    names
      .map((name) => resolve(folder, name))
      .filter(existsSync)
      .slice(0, 1);
  const [main] = find(composeFileNames);
  if (main === undefined) {
    throw new CliError(
      exitCode.badInput,
      `there is no ${composeFileNames.join(', ')} in ${resolve(folder)}`,
      'name a Compose file with -f FILE',
    );
  }
  return [main, ...find(overrideFileNames)];
}

function dotenvFiles(options: ComposeOptions, workingDir: string): SourceFile[] {
  if (options.envFile !== undefined) return options.envFile.map(readSource);
  const path = resolve(workingDir, '.env');
  return existsSync(path) ? [readSource(path)] : [];
}

function readSource(path: string): SourceFile {
  try {
    // `-` is standard input, as everywhere.
    return { path, text: readFileSync(path === '-' ? 0 : path, 'utf8') };
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): CliError {
  return new CliError(exitCode.badInput, `cannot read ${path}: ${(cause as Error).message}`, 'check the path', {
    cause,
  });
}
