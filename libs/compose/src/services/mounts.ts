import { resolve } from 'node:path/posix';
import type { Mount } from '@berth/contracts/workload';
import { MountType } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { bindLevel, mountLevel, mountTmpfsLevel, mountVolumeLevel } from '../keys.ts';
import { parseBytes } from '../text/units.ts';
import type { Surroundings } from './surroundings.ts';
import { hostPath } from './surroundings.ts';

/** A mount with the place where it is written. */
export interface PlacedMount {
  readonly spec: Mount;
  readonly field: Field;
}

const propagations = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const;
/** Docker Desktop's hints for macOS; they mean nothing on Linux. */
const consistencies = ['consistent', 'cached', 'delegated', 'default'] as const;
const selinuxNote = 'SELinux labels are not changed; on a host that enforces SELinux label the path with chcon';
const shortRemedy = 'write [SOURCE:]TARGET[:MODE], such as "data:/var/lib/data:ro"; TARGET is an absolute path';

function mount(spec: Partial<Mount> & Pick<Mount, 'type' | 'target'>): Mount {
  return {
    source: '',
    readOnly: false,
    propagation: '',
    tmpfsSizeBytes: 0,
    tmpfsMode: 0,
    createHostPath: false,
    volumeNocopy: false,
    relativeSource: '',
    ...spec,
    target: resolve('/', spec.target),
  };
}

/** Mounts of `volumes` and `tmpfs`, in the order of their targets in the file. */
export function readMounts(service: Field, surroundings: Surroundings): PlacedMount[] {
  const placed: PlacedMount[] = [];
  for (const item of service.get('volumes')?.items() ?? []) {
    const spec = item.node.kind === 'map' ? longMount(item, surroundings) : shortMount(item, surroundings);
    if (spec !== undefined) placed.push({ spec, field: item });
  }
  for (const item of service.get('tmpfs')?.oneOrMany() ?? []) {
    const spec = tmpfsMount(item);
    if (spec !== undefined) placed.push({ spec, field: item });
  }
  const targets = new Map<string, Field>();
  for (const { spec, field } of placed) {
    const earlier = targets.get(spec.target);
    if (earlier !== undefined) {
      field.fail(
        `${spec.target} is already mounted on line ${earlier.node.at.line}`,
        'mount each path once; remove or move one of the two',
      );
    }
    targets.set(spec.target, field);
  }
  return placed;
}

function shortMount(field: Field, surroundings: Surroundings): Mount | undefined {
  const text = field.filled();
  if (text === undefined) return undefined;
  const parts = text.split(':');
  if (parts.length > 3) return field.fail(`"${text}" is not a volume`, shortRemedy);
  const [source, target, mode] = parts.length === 1 ? ['', text, undefined] : parts;
  if (target === undefined || !target.startsWith('/')) {
    return field.fail(`the target "${target ?? ''}" is not an absolute path`, shortRemedy);
  }
  if (resolve('/', target) === '/') return field.fail('nothing can be mounted over /', shortRemedy);
  const options = mode === undefined ? {} : shortOptions(field, mode);
  if (source === undefined || source === '') {
    return parts.length === 1
      ? mount({ type: MountType.MOUNT_TYPE_VOLUME, target })
      : field.fail('the source is empty', shortRemedy);
  }
  if (!/^[./~]/.test(source)) return namedMount(field, source, target, options);
  const path = hostPath(field, source, surroundings);
  if (path === undefined) return undefined;
  if (options.volumeNocopy) return field.fail('nocopy is for volumes, not for host paths', 'remove nocopy');
  return mount({ ...options, ...hostSource(source, path), target, createHostPath: true });
}

function namedMount(field: Field, source: string, target: string, options: Partial<Mount>): Mount | undefined {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(source)) {
    return field.fail(
      `"${source}" is neither a volume name nor a path`,
      'start a host path with ./ or /; a volume name has letters, digits, "_", "." and "-"',
    );
  }
  if (options.propagation) return field.fail('propagation is for host paths, not for volumes', 'remove the option');
  return mount({ ...options, type: MountType.MOUNT_TYPE_VOLUME, source, target });
}

function shortOptions(field: Field, mode: string): Partial<Mount> {
  const options: { readOnly?: boolean; volumeNocopy?: boolean; propagation?: string } = {};
  const words = mode.split(',');
  if (words.includes('ro') && words.includes('rw')) roAndRw(field);
  for (const word of words) {
    if (word === 'ro') options.readOnly = true;
    else if (word === 'nocopy') options.volumeNocopy = true;
    else if (word === 'z' || word === 'Z') field.warn(`${word}: ${selinuxNote}`);
    else if (propagations.some((known) => known === word)) options.propagation = word;
    else if (word !== 'rw' && !consistencies.some((known) => known === word)) {
      field.fail(
        `the volume option "${word}" is not known`,
        `use ro, rw, nocopy or one of: ${propagations.join(', ')}`,
      );
    }
  }
  return options;
}

function roAndRw(field: Field): void {
  field.fail('ro and rw exclude each other', 'keep one of the two');
}

/** A bind of a path; one that is not absolute in the file is one of the host where the file is. */
function hostSource(written: string, path: string): Pick<Mount, 'type' | 'source' | 'relativeSource'> {
  return {
    type: MountType.MOUNT_TYPE_BIND,
    source: path,
    relativeSource: written.startsWith('/') ? '' : written,
  };
}

function longMount(field: Field, surroundings: Surroundings): Mount | undefined {
  if (!field.keys(mountLevel)) return undefined;
  const typeField = field.get('type');
  if (typeField === undefined) return field.fail('a volume needs a type', 'write `type: volume`, `bind` or `tmpfs`');
  const type = typeField.oneOf(['volume', 'bind', 'tmpfs']);
  const target = absoluteTarget(field);
  const readOnly = field.get('read_only')?.boolean() ?? false;
  field.get('consistency')?.oneOf(consistencies);
  if (type === undefined || target === undefined) return undefined;
  for (const other of ['bind', 'volume', 'tmpfs'] as const) {
    if (other !== type)
      field.get(other)?.fail(`"${other}" options on a mount of type ${type}`, 'remove them or change the type');
  }
  const sourceField = field.get('source');
  const source = sourceField?.string() ?? '';
  switch (type) {
    case 'bind':
      if (source === '') return field.fail('a bind needs a source', 'write `source: PATH`, a path of the host');
      return bindMount(field, { source, target, readOnly }, surroundings);
    case 'volume': {
      const options = field.get('volume');
      options?.keys(mountVolumeLevel);
      const volumeNocopy = options?.get('nocopy')?.boolean() ?? false;
      if (source === '') return mount({ type: MountType.MOUNT_TYPE_VOLUME, target, readOnly, volumeNocopy });
      return namedMount(sourceField ?? field, source, target, { readOnly, volumeNocopy });
    }
    case 'tmpfs': {
      if (source !== '') sourceField?.fail('a tmpfs has no source', 'remove the key');
      const options = field.get('tmpfs');
      options?.keys(mountTmpfsLevel);
      const tmpfsSizeBytes = options?.get('size')?.parsed(parseBytes) ?? 0;
      const tmpfsMode = readMode(options?.get('mode')) ?? 0;
      return mount({ type: MountType.MOUNT_TYPE_TMPFS, target, readOnly, tmpfsSizeBytes, tmpfsMode });
    }
  }
}

function bindMount(
  field: Field,
  { source, target, readOnly }: { readonly source: string; readonly target: string; readonly readOnly: boolean },
  surroundings: Surroundings,
): Mount | undefined {
  const options = field.get('bind');
  options?.keys(bindLevel);
  const propagation = options?.get('propagation')?.oneOf(propagations) ?? '';
  const createHostPath = options?.get('create_host_path')?.boolean() ?? false;
  if (options?.get('selinux')?.oneOf(['z', 'Z']) !== undefined) options.warn(selinuxNote);
  const path = hostPath(field.get('source') ?? field, source, surroundings);
  if (path === undefined) return undefined;
  return mount({ ...hostSource(source, path), target, readOnly, propagation, createHostPath });
}

function absoluteTarget(field: Field): string | undefined {
  const targetField = field.get('target');
  if (targetField === undefined)
    return field.fail('a volume needs a target', 'write `target: PATH`, a path in the container');
  const target = targetField.string();
  if (target === undefined) return undefined;
  if (!target.startsWith('/'))
    return targetField.fail(`"${target}" is not an absolute path`, 'start the target with /');
  return resolve('/', target) === '/'
    ? targetField.fail('nothing can be mounted over /', 'choose another target')
    : target;
}

/** Reads `/path[:option,…]`; the options are those of the kernel's tmpfs that Docker's mount API carries. */
function tmpfsMount(field: Field): Mount | undefined {
  const text = field.filled();
  if (text === undefined) return undefined;
  const split = text.indexOf(':');
  const target = split < 0 ? text : text.slice(0, split);
  if (!target.startsWith('/') || resolve('/', target) === '/') {
    return field.fail(`"${target}" is not an absolute path`, 'write the path in the container, such as /run');
  }
  const spec = { tmpfsSizeBytes: 0, tmpfsMode: 0, readOnly: false };
  const options = split < 0 ? [] : text.slice(split + 1).split(',');
  if (options.includes('ro') && options.includes('rw')) roAndRw(field);
  for (const option of options) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/.exec(option) ?? [];
    if (name === 'size') {
      const bytes = parseBytes(value);
      if (bytes.ok) spec.tmpfsSizeBytes = bytes.value;
      else field.fail(bytes.message, bytes.remedy);
    } else if (name === 'mode' && /^[0-7]{3,4}$/.test(value)) spec.tmpfsMode = Number.parseInt(value, 8);
    else if (option === 'ro') spec.readOnly = true;
    else if (!['rw', 'noexec', 'nosuid', 'nodev'].includes(option)) {
      field.fail(
        `the tmpfs option "${option}" is not supported`,
        'use size=64m, mode=1777, ro, rw, noexec, nosuid, nodev',
      );
    }
  }
  return mount({ type: MountType.MOUNT_TYPE_TMPFS, target, ...spec });
}

/** Mode bits: 0755 and "0755" are octal, as everywhere else on Unix. */
function readMode(field: Field | undefined): number | undefined {
  if (field === undefined) return undefined;
  const text = field.node.kind === 'scalar' ? field.node.text : '';
  const octal = /^(?:0o?)([0-7]{1,4})$/.exec(text)?.[1];
  if (octal !== undefined) return Number.parseInt(octal, 8);
  return field.integer(0, 0o7777);
}
