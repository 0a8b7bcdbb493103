import { parseArgs } from 'node:util';
import { z } from 'zod';

/** A configuration that cannot be used. `message` names every bad key by its flag and its variable. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

export interface ConfigSource<Shape extends z.ZodRawShape> {
  /** Name of the program, for `--help`. */
  readonly name: string;
  /** What it does, for `--help`. */
  readonly description?: string;
  /** One key per setting, in camelCase, with `.describe(…)` and mostly `.default(…)`; values arrive as text, so use
   *  `z.coerce.number()`, `flag()`, `list()`. */
  readonly schema: z.ZodObject<Shape>;
  /** Arguments without the program's name. Default: those of the process. */
  readonly argv?: readonly string[];
  /** Default: the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A boolean setting: `true`, `false`, or the bare flag. */
export function flag(): z.ZodPipe<
  z.ZodEnum<{ true: 'true'; false: 'false' }>,
  z.ZodTransform<boolean, 'true' | 'false'>
> {
  return z.enum(['true', 'false']).transform((text) => text === 'true');
}

/** A setting with several values, separated by commas. */
export function list(): z.ZodPipe<z.ZodString, z.ZodTransform<string[], string>> {
  return z.string().transform((text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  );
}

/** Addresses `host:port`, separated by commas; at least one. */
export function addressList(): ReturnType<typeof list> {
  return list().refine((values) => values.length > 0 && values.every(isAddress), 'write it as host:port,host:port');
}

/** URLs `<scheme>://host:port`, separated by commas; at least one. */
export function urlList(scheme: string): ReturnType<typeof list> {
  const prefix = `${scheme}://`;
  return list().refine(
    (values) =>
      values.length > 0 && values.every((url) => url.startsWith(prefix) && isAddress(url.slice(prefix.length))),
    `write it as ${prefix}host:port,${prefix}host:port`,
  );
}

function isAddress(text: string): boolean {
  const port = /^(?:[^\s:/[\]]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/u.exec(text)?.[1];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}

/** `grpcPort` as a flag: `--grpc-port`. */
export function flagName(key: string): string {
  return `--${key.replace(/[A-Z0-9]+/gu, (part) => (/^[0-9]/u.test(part) ? part : `-${part.toLowerCase()}`))}`;
}

/** `grpcPort` as a variable: `BERTH_GRPC_PORT`. */
export function envName(key: string): string {
  return `BERTH_${flagName(key).slice(2).replaceAll('-', '_').toUpperCase()}`;
}

/** Reads flags, then `BERTH_*` variables, then defaults. Throws ConfigError naming every bad key and what is wrong. */
export function parseConfig<Shape extends z.ZodRawShape>(source: ConfigSource<Shape>): z.output<z.ZodObject<Shape>> {
  const { schema, argv = process.argv.slice(2), env = process.env } = source;
  const keys = Object.keys(schema.shape);
  const { values, problems } = readFlags(keys, argv);
  const raw: Record<string, string> = {};
  for (const key of keys) {
    const text = values.get(key) ?? env[envName(key)];
    // An empty variable, as Compose makes of an unset one, is an unset setting.
    if (text !== undefined && text !== '') raw[key] = text;
  }
  const parsed = schema.safeParse(raw);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const key = String(issue.path[0] ?? '');
      const said = raw[key] === undefined ? 'is missing' : `${JSON.stringify(raw[key])} is no good: ${issue.message}`;
      problems.push(`${flagName(key)} (${envName(key)}) ${said}`);
    }
  }
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems);
  return parsed.data;
}

/** `parseConfig` for a program's first line: `--help` prints and exits 0; a bad value prints and exits 2. */
export function loadConfig<Shape extends z.ZodRawShape>(source: ConfigSource<Shape>): z.output<z.ZodObject<Shape>> {
  if ((source.argv ?? process.argv.slice(2)).includes('--help')) {
    process.stdout.write(helpText(source));
    process.exit(0);
  }
  try {
    return parseConfig(source);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${source.name}: bad configuration\n`);
    for (const problem of error.problems) process.stderr.write(`  ${problem}\n`);
    process.stderr.write(`Run "${source.name} --help" for all settings.\n`);
    process.exit(2);
  }
}

/** All settings of a program, with variables and defaults. */
export function helpText<Shape extends z.ZodRawShape>(source: ConfigSource<Shape>): string {
  const lines = [`Usage: ${source.name} [settings]`, ''];
  if (source.description !== undefined) lines.push(source.description, '');
  lines.push('Settings (a flag wins over its variable):');
  for (const [key, type] of Object.entries(source.schema.shape)) {
    const setting = type as z.ZodType;
    const fallback = setting.safeParse(undefined);
    const standard =
      fallback.success && fallback.data !== undefined ? ` [default ${JSON.stringify(fallback.data)}]` : '';
    lines.push(`  ${flagName(key)} VALUE, ${envName(key)}`, `      ${setting.description ?? ''}${standard}`);
  }
  return `${lines.join('\n')}\n`;
}

function readFlags(
  keys: readonly string[],
  argv: readonly string[],
): { values: Map<string, string>; problems: string[] } {
  const byFlag = new Map(keys.map((key) => [flagName(key).slice(2), key]));
  const { tokens } = parseArgs({ args: [...argv], strict: false, allowPositionals: true, tokens: true });
  const values = new Map<string, string>();
  const problems: string[] = [];
  for (const [index, token] of (tokens ?? []).entries()) {
    if (token.kind === 'positional') {
      const before = tokens?.[index - 1];
      const awaits = before?.kind === 'option' && before.value === undefined ? before.name : undefined;
      const key = awaits === undefined ? undefined : byFlag.get(awaits);
      if (key !== undefined) values.set(key, token.value);
      else if (awaits === undefined) problems.push(`${JSON.stringify(token.value)} is no setting`);
    } else if (token.kind === 'option') {
      const key = byFlag.get(token.name);
      if (key === undefined) problems.push(`${token.rawName} is no setting`);
      // A bare flag means true, unless a value follows.
      else values.set(key, token.value ?? 'true');
    }
  }
  return { values, problems };
}
