import { StackSpec } from '@berth/contracts/workload';
import { assemble } from './assemble.ts';
import type { Field } from './field.ts';
import { rootField } from './field.ts';
import { topLevel } from './keys.ts';
import { mergeFiles } from './merge.ts';
import type { Problem, Warning } from './problem.ts';
import { Report } from './problem.ts';
import { readNetworks, readVolumes } from './resources.ts';
import { compareText } from './services/pairs.ts';
import type { ServiceDraft } from './services/service.ts';
import { readService } from './services/service.ts';
import { checkStackName, stackNameFrom } from './stack-name.ts';
import type { SourceFile } from './text/dotenv.ts';
import { parseDotenv } from './text/dotenv.ts';
import type { Lookup } from './text/interpolate.ts';
import { validate } from './validate.ts';
import { interpolateTree } from './yaml/interpolate-tree.ts';
import { parseYaml } from './yaml/parse.ts';
import { SourceText } from './yaml/source-text.ts';
import type { MapNode } from './yaml/tree.ts';

/** Names under which a Compose file is looked for in a folder, the first found wins. */
export const composeFileNames = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'] as const;
/** Names of the file merged over it by default, in the same order. */
export const overrideFileNames = [
  'compose.override.yaml',
  'compose.override.yml',
  'docker-compose.override.yaml',
  'docker-compose.override.yml',
] as const;

/** Longest encoded stack spec, in bytes: it is one value under one key of the store. */
export const stackSpecBytesMax = 1024 * 1024;

/** What a stack is read from. The lib reads no file and no environment itself. */
export interface LoadStackOptions {
  /** Compose files in the order of `-f`; later ones are merged over earlier ones. */
  readonly files: readonly SourceFile[];
  /** The shell's variables. They win over those of `dotenv`. */
  readonly env: Readonly<Record<string, string>>;
  /** `.env` or the files of `--env-file`; later ones win. Default none. */
  readonly dotenv?: readonly SourceFile[];
  /** Reads an env_file by its absolute path; undefined when it cannot be read. Default: none can. */
  readonly readFile?: (path: string) => string | undefined;
  /** `-p`; see `stackNameFrom` for what applies without it. */
  readonly projectName?: string | undefined;
  /** Active profiles; `*` is all. Default: COMPOSE_PROFILES of the environment, separated by commas. */
  readonly profiles?: readonly string[] | undefined;
  /** Absolute folder that relative paths start from: that of the first file, or `--project-directory`. */
  readonly workingDir: string;
  /** Namespace of the stack. Default "default". */
  readonly namespace?: string | undefined;
  /** Keys that Berth does not read are skipped, each with a warning; values of the others are checked. Default false. */
  readonly lenient?: boolean | undefined;
}

/** A stack, or everything that is wrong with its files. */
export type LoadStackResult =
  | { readonly ok: true; readonly spec: StackSpec; readonly warnings: readonly Warning[] }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly warnings: readonly Warning[] };

/**
 * Turns Compose files into a stack spec. Never throws for bad input: all problems come back at once, in the order of
 * the files. The same files and variables always give a spec that encodes to the same bytes.
 */
export function loadStack(options: LoadStackOptions): LoadStackResult {
  const report = new Report({ lenient: options.lenient ?? false });
  for (const file of options.files) report.file(file.path);
  const spec = load(options, report);
  const warnings = report.warnings();
  if (spec === undefined || report.failed) return { ok: false, problems: report.problems(), warnings };
  return { ok: true, spec, warnings };
}

function load(options: LoadStackOptions, report: Report): StackSpec | undefined {
  const top = { file: options.files[0]?.path ?? 'compose.yaml', line: 1, column: 1 };
  const env = readVariables(options, report);
  const parsed = options.files.flatMap((file) => {
    const source = new SourceText(file.path, file.text);
    const tree = parseYaml(source, report);
    return tree === undefined ? [] : [{ source, tree }];
  });
  if (parsed.length < options.files.length || parsed.length === 0) {
    if (options.files.length === 0) report.fail(top, '', 'no Compose file was given', 'name one with -f FILE');
    return undefined;
  }
  const fileName = lastName(parsed, lookupIn(env));
  const stackName = stackNameFrom({ projectName: options.projectName, env, fileName, workingDir: options.workingDir });
  const lookup = lookupIn({ ...env, COMPOSE_PROJECT_NAME: stackName.name });
  const trees = parsed.map(({ source, tree }) => interpolateTree(tree, source, lookup, report));
  const merged = mergeFiles(trees, report);
  if (merged === undefined) return undefined;
  const root = rootField(merged, report);
  root.keys(topLevel);
  root.get('name')?.scalar();
  root.get('version')?.scalar();
  checkStackName(stackName, root.get('name'), top, report);
  const namespace = readNamespace(options, top, report);
  const { services, inactive } = readServices(root, options, env, lookup);
  const stack = { services, inactive, networks: readNetworks(root), volumes: readVolumes(root) };
  validate(stack);
  const spec = assemble(namespace, stackName.name, stack);
  const bytes = StackSpec.encode(spec).finish().length;
  if (bytes > stackSpecBytesMax) {
    report.fail(top, '', `the stack takes ${bytes} bytes, more than 1 MiB`, 'split it into smaller stacks');
  }
  return spec;
}

/** The shell's variables over those of the dotenv files. */
function readVariables(options: LoadStackOptions, report: Report): Record<string, string> {
  const values = new Map<string, string>();
  const lookup: Lookup = (name) => lookupIn(options.env)(name) ?? values.get(name);
  for (const file of options.dotenv ?? []) {
    for (const [key, value] of parseDotenv(file, lookup, report)) values.set(key, value);
  }
  return { ...Object.fromEntries(values), ...options.env };
}

function lookupIn(env: Readonly<Record<string, string>>): Lookup {
  return (name) => (Object.hasOwn(env, name) ? env[name] : undefined);
}

/** The last file's `name:`. It is needed before the files are filled in, as they may use COMPOSE_PROJECT_NAME. */
function lastName(
  parsed: readonly { readonly source: SourceText; readonly tree: MapNode }[],
  lookup: Lookup,
): string | undefined {
  const names = parsed.flatMap(({ source, tree }) => {
    const value = tree.entries.get('name')?.value;
    // Problems with the name are reported when the whole file is filled in.
    const node = value === undefined ? undefined : interpolateTree(value, source, lookup, new Report(), 'name');
    return node?.kind === 'scalar' ? [node.text] : [];
  });
  return names.at(-1);
}

function readNamespace(options: LoadStackOptions, top: { file: string; line: number; column: number }, report: Report) {
  const namespace = options.namespace ?? 'default';
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(namespace)) {
    report.fail(top, '', `"${namespace}" cannot be a namespace`, 'use up to 63 lowercase letters, digits and "-"');
  }
  return namespace;
}

function readServices(
  root: Field,
  options: LoadStackOptions,
  env: Readonly<Record<string, string>>,
  lookup: Lookup,
): { services: Map<string, ServiceDraft>; inactive: Set<string> } {
  const surroundings = { lookup, workingDir: options.workingDir, readFile: options.readFile ?? (() => undefined) };
  const wanted = options.profiles ?? (env['COMPOSE_PROFILES'] ?? '').split(',').map((profile) => profile.trim());
  const services = new Map<string, ServiceDraft>();
  const inactive = new Set<string>();
  const servicesField = root.get('services');
  const entries = servicesField?.entries() ?? [];
  for (const [name, field] of entries.sort(([a], [b]) => compareText(a, b))) {
    if (isActive(field, wanted)) {
      services.set(name, readService(name, field, surroundings));
    } else {
      inactive.add(name);
      root.report.forget(field.path);
      readProfiles(field); // a profile that nothing can activate is said all the same
    }
  }
  if (entries.length === 0 && (servicesField === undefined || servicesField.node.kind === 'map')) {
    root.fail('the file declares no services', 'declare at least one service under `services:`');
  }
  return { services, inactive };
}

function isActive(service: Field, wanted: readonly string[]): boolean {
  const profiles = readProfiles(service);
  return profiles.length === 0 || wanted.includes('*') || profiles.some((profile) => wanted.includes(profile));
}

function readProfiles(service: Field): string[] {
  return (service.get('profiles')?.items() ?? []).flatMap((item) => {
    const profile = item.filled();
    if (profile !== undefined && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(profile)) {
      item.fail(`"${profile}" cannot be a profile`, 'use letters, digits, "_", "." and "-"');
    }
    return profile ?? [];
  });
}
