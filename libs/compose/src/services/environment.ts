import type { Field } from '../field.ts';
import { envFileLevel } from '../keys.ts';
import { parseDotenv } from '../text/dotenv.ts';
import { readPairs, sortedRecord } from './pairs.ts';
import type { Surroundings } from './surroundings.ts';
import { hostPath } from './surroundings.ts';

/** The container's environment: `env_file` in order, then `environment` over it. */
export function readEnvironment(service: Field, surroundings: Surroundings): Record<string, string> {
  const values = new Map<string, string>();
  for (const file of service.get('env_file')?.oneOrMany() ?? []) readEnvFile(file, surroundings, values);
  const environment = service.get('environment');
  for (const { key, value, field } of environment === undefined ? [] : readPairs(environment)) {
    if (key.includes('=') || key.includes('\0')) {
      field.fail(`"${key}" is not a variable name`, 'a variable name has no "=" and no zero byte');
      continue;
    }
    // A name without a value takes the shell's; where the shell has none the container has none either.
    const given = value ?? surroundings.lookup(key);
    if (given === undefined) values.delete(key);
    else values.set(key, given);
  }
  return sortedRecord(values);
}

function readEnvFile(field: Field, surroundings: Surroundings, values: Map<string, string>): void {
  const long = field.node.kind === 'map';
  if (long && !field.keys(envFileLevel)) return;
  const pathField = long ? field.get('path') : field;
  if (pathField === undefined) {
    field.fail('an env_file needs a path', 'write `path: FILE`');
    return;
  }
  const path = pathField.filled();
  const required = field.get('required')?.boolean() ?? true;
  const format = field.get('format')?.oneOf(['raw']);
  const resolved = path === undefined ? undefined : hostPath(pathField, path, surroundings);
  if (resolved === undefined) return;
  const text = surroundings.readFile(resolved);
  if (text !== undefined) {
    const parsed = parseDotenv({ path: resolved, text }, surroundings.lookup, field.report, format ?? 'dotenv');
    for (const [key, value] of parsed) values.set(key, value);
  } else if (required) {
    pathField.fail(
      `the file ${resolved} cannot be read`,
      'create the file, or write `required: false` in the long form',
    );
  }
}
