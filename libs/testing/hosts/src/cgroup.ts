import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A control group per lab and host, so that a host can be frozen and its memory be read. Version 1 has a tree per
 * controller, version 2 one tree.
 */
const root = '/sys/fs/cgroup';
const removeTimeoutMs = 5_000;

function unified(): boolean {
  return existsSync(join(root, 'cgroup.controllers'));
}

function trees(): string[] {
  if (unified()) return [root];
  return ['memory', 'freezer', 'cpuacct']
    .map((controller) => join(root, controller))
    .filter((tree) => existsSync(tree));
}

/** Makes the groups for a host's own processes (its containers get groups beside them) and returns their folders. */
export function createGroups(group: string): string[] {
  return trees().map((tree) => {
    const folder = join(tree, group, 'sys');
    mkdirSync(folder, { recursive: true });
    return folder;
  });
}

export function setFrozen(group: string, frozen: boolean): void {
  if (unified()) writeFileSync(join(root, group, 'cgroup.freeze'), frozen ? '1' : '0');
  else writeFileSync(join(root, 'freezer', group, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED');
}

/** Thaws a group and all below it: an engine's paused containers are frozen in groups of their own. */
export function thawAll(group: string): void {
  setFrozen(group, false);
  const folder = join(root, unified() ? '' : 'freezer', group);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) thawAll(join(group, entry.name));
  }
}

/** Bytes of memory that a host's processes and containers use, page cache included. */
export function memoryUsage(group: string): number {
  const file = unified() ? join(root, group, 'memory.current') : join(root, 'memory', group, 'memory.usage_in_bytes');
  return Number(readFileSync(file, 'utf8'));
}

/** Seconds of cpu that a host's processes and containers have used since it has its groups. */
export function cpuUsage(group: string): number {
  if (!unified()) return Number(readFileSync(join(root, 'cpuacct', group, 'cpuacct.usage'), 'utf8')) / 1e9;
  return Number(/^usage_usec (\d+)$/mu.exec(readFileSync(join(root, group, 'cpu.stat'), 'utf8'))?.[1]) / 1e6;
}

/** Removes a group and those below it in every tree; engines make groups in all of them. */
export async function removeGroups(group: string): Promise<void> {
  const folders = [root, ...readdirSync(root).map((tree) => join(root, tree))].map((tree) => join(tree, group));
  const deadline = performance.now() + removeTimeoutMs;
  for (const folder of folders.filter((path) => existsSync(path))) {
    // A group is busy until the kernel has buried its last process.
    while (!removeTree(folder)) {
      if (performance.now() > deadline) throw new Error(`processes left in the control group ${folder}`);
      await sleep(20);
    }
  }
}

function removeTree(folder: string): boolean {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory() && !removeTree(join(folder, entry.name))) return false;
    }
    rmdirSync(folder);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false;
    throw error;
  }
}
