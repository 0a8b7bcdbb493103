import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { removeGroups } from './cgroup.ts';
import { powerOff } from './host.ts';
import { removeNamespace } from './network-namespace.ts';
import type { OwnedDirectory } from './owned-directory.ts';
import { removeOwnedDirectory } from './owned-directory.ts';

/** Prefix of a lab's namespaces, name of its control group. */
export function labName(directory: OwnedDirectory): string {
  return `berth-${basename(directory.path)}`;
}

export function clientNamespace(directory: OwnedDirectory): string {
  return `${labName(directory)}-client`;
}

export function hostsFolder(directory: OwnedDirectory): string {
  return join(directory.path, 'hosts');
}

/** Removes a lab, also one whose process is gone, by what its directory records. May be called again. */
export async function removeLab(directory: OwnedDirectory): Promise<void> {
  const name = labName(directory);
  const folder = hostsFolder(directory);
  const hosts = existsSync(folder) ? readdirSync(folder) : [];
  await Promise.all(hosts.map((host) => powerOff(join(folder, host), `${name}/${host}`)));
  for (const namespace of [...hosts, 'client', 'lan']) await removeNamespace(`${name}-${namespace}`);
  await removeGroups(name);
  removeOwnedDirectory(directory);
}
