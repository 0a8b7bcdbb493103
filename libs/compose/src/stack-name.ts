import type { Field } from './field.ts';
import type { Position, Report } from './problem.ts';

/** Longest name of a stack. */
const stackNameLengthMax = 63;
const remedy = 'use up to 63 lowercase letters, digits, "-" and "_", starting with a letter or digit';

/** True for what can be the name of a stack. */
export function isStackName(name: string): boolean {
  return name.length <= stackNameLengthMax && /^[a-z0-9][a-z0-9_-]*$/.test(name);
}

/** Where a stack's name may come from. */
export interface StackNameSources {
  /** `-p`. */
  readonly projectName?: string | undefined;
  /** Variables, of which COMPOSE_PROJECT_NAME counts. */
  readonly env: Readonly<Record<string, string>>;
  /** `name:` of the file. */
  readonly fileName?: string | undefined;
  /** Absolute folder of the project. */
  readonly workingDir: string;
}

/** Where the name was found. */
export type StackNameOrigin = 'option' | 'environment' | 'file' | 'folder';

/**
 * The name of a stack: `-p`, else COMPOSE_PROJECT_NAME, else the file's `name:`, else the folder's name in lower case
 * with everything left out that a name cannot hold. It may still be no valid name (see `isStackName`).
 */
export function stackNameFrom(sources: StackNameSources): { readonly name: string; readonly origin: StackNameOrigin } {
  const { projectName, env, fileName, workingDir } = sources;
  if (projectName) return { name: projectName, origin: 'option' };
  const fromEnv = env['COMPOSE_PROJECT_NAME'];
  if (fromEnv) return { name: fromEnv, origin: 'environment' };
  if (fileName) return { name: fileName, origin: 'file' };
  const folder = workingDir.split('/').findLast((part) => part !== '') ?? '';
  const name = folder
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]/g, '')
    .replace(/^[_-]+/, '')
    .slice(0, stackNameLengthMax);
  return { name, origin: 'folder' };
}

/** Reports a name that no stack can have. */
export function checkStackName(
  { name, origin }: { readonly name: string; readonly origin: StackNameOrigin },
  nameField: Field | undefined,
  top: Position,
  report: Report,
): void {
  if (isStackName(name)) return;
  switch (origin) {
    case 'file':
      nameField?.fail(`"${name}" cannot be the name of a stack`, remedy);
      return;
    case 'option':
      report.fail(top, 'name', `"${name}" (given with -p) cannot be the name of a stack`, remedy);
      return;
    case 'environment':
      report.fail(top, 'name', `"${name}" (from COMPOSE_PROJECT_NAME) cannot be the name of a stack`, remedy);
      return;
    case 'folder':
      report.fail(top, 'name', 'the stack has no name and its folder gives none', 'write `name: NAME` or use -p NAME');
  }
}
