import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostSettings } from './host.ts';
import { Host } from './host.ts';
import { LabClient } from './lab-client.ts';
import type { OwnedDirectory, Owner } from './owned-directory.ts';
import { ownedDirectories } from './owned-directory.ts';
import { clientNamespace, hostsFolder } from './remove-lab.ts';

const nameFile = 'name';
export const settingsFile = 'settings.json';

/** A lab that another process keeps, as this process finds it. Power is that process's: hosts die with who started them. */
export interface NamedLab {
  readonly name: string;
  readonly dir: string;
  /** The process that keeps it. */
  readonly owner: Owner;
  readonly client: LabClient;
  /** By name: to run programs on them. */
  hosts(): Host[];
}

/** Labs of living processes that were given a name, by name. */
export function namedLabs(): NamedLab[] {
  return ownedDirectories()
    .filter(({ kind, running }) => kind === 'lab' && running)
    .flatMap((directory) => {
      const name = readName(directory);
      if (name === undefined || directory.owner === undefined) return [];
      const client = new LabClient(clientNamespace(directory));
      return [{ name, dir: directory.path, owner: directory.owner, client, hosts: () => hostsOf(directory) }];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Gives a new lab its name. Throws if a living one has it; of two that take it at once, one gets it. */
export function claimName(directory: OwnedDirectory, name: string): void {
  writeFileSync(join(directory.path, nameFile), name);
  const others = namedLabs().filter((lab) => lab.name === name && lab.dir !== directory.path);
  if (others.some((other) => other.dir < directory.path)) throw new Error(`there is a lab ${name} already`);
}

/** Keeps what another process needs to run programs on a host. */
export function keepSettings(settings: HostSettings): void {
  writeFileSync(join(settings.directory, settingsFile), JSON.stringify(settings));
}

function hostsOf(directory: OwnedDirectory): Host[] {
  const folder = hostsFolder(directory);
  return readdirSync(folder)
    .flatMap((name) => {
      const settings = readText(join(folder, name, settingsFile));
      return settings === undefined ? [] : [new Host(JSON.parse(settings) as HostSettings)];
    })
    .sort((a, b) => a.index - b.index);
}

function readName(directory: OwnedDirectory): string | undefined {
  return readText(join(directory.path, nameFile));
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
