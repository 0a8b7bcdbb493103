import type { NetworkSpec, VolumeSpec } from '@berth/contracts/workload';
import type { Field } from './field.ts';
import type { Level } from './keys.ts';
import { externalRemedies, networkLevel, volumeLevel } from './keys.ts';
import { readLabels, readOptions } from './services/pairs.ts';

/** Something declared at the top level, with its place (undefined: the implicit default network). */
export interface Declared<T> {
  readonly spec: T;
  readonly field: Field | undefined;
}

const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** Networks declared at the top level, by name. */
export function readNetworks(root: Field): Map<string, Declared<NetworkSpec>> {
  return readDeclared(root.get('networks'), networkLevel, 'network', (name, field) => {
    // Berth has one kind of network, which serves as both; anything else would behave differently.
    field.get('driver')?.oneOf(['bridge', 'overlay']);
    const driverOpts = readOptions(field.get('driver_opts'));
    const internal = field.get('internal')?.boolean() ?? false;
    return { name, driverOpts, internal, externalName: readName(field) };
  });
}

/** Volumes declared at the top level, by name. */
export function readVolumes(root: Field): Map<string, Declared<VolumeSpec>> {
  return readDeclared(root.get('volumes'), volumeLevel, 'volume', (name, field) => ({
    name,
    driver: field.get('driver')?.string() ?? '',
    driverOpts: readOptions(field.get('driver_opts')),
    labels: readLabels(field.get('labels')),
    externalName: readName(field),
  }));
}

function readDeclared<T>(
  field: Field | undefined,
  level: Level,
  what: 'network' | 'volume',
  read: (name: string, field: Field) => T,
): Map<string, Declared<T>> {
  const declared = new Map<string, Declared<T>>();
  for (const [name, entry] of field?.entries() ?? []) {
    if (!namePattern.test(name)) {
      entry.report.fail(
        entry.keyAt,
        entry.path,
        `"${name}" cannot be the name of a ${what}`,
        'use up to 128 letters, digits, "_", "." and "-", starting with a letter or digit',
      );
    }
    entry.keys(level);
    const external = entry.get('external');
    if (external !== undefined && (external.node.kind === 'map' || external.boolean() === true)) {
      external.fail(`external ${what}s are not supported by this version of Berth`, externalRemedies[what]);
    }
    declared.set(name, { spec: read(name, entry), field: entry });
  }
  return declared;
}

function readName(field: Field): string {
  const name = field.get('name')?.filled() ?? '';
  if (name !== '' && !namePattern.test(name)) {
    field.get('name')?.fail(`"${name}" cannot be a name`, 'use letters, digits, "_", "." and "-"');
  }
  return name;
}
