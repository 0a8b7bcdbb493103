import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DockerCalls, StateFiles } from '@berth/agent';
import type { Logger } from '@berth/kernel';

/**
 * The last an agent does that was removed from its cluster: empties its state folder, then has the engine remove its own
 * container, and so ends. What says that it is leaving goes last, so that a crash in between is begun again.
 */
export async function takeAway(own: {
  readonly stateDir: string;
  readonly files: StateFiles;
  readonly calls: DockerCalls;
  readonly log: Logger;
}): Promise<void> {
  const { stateDir, files, calls, log } = own;
  for (const name of await readdir(stateDir)) {
    if (name !== files.nodeFile) await rm(join(stateDir, name), { recursive: true, force: true });
  }
  const id = containerIdOf(await readFile('/proc/self/mountinfo', 'utf8'));
  const container = id === undefined ? undefined : await calls.inspect(id);
  if (container) await calls.startNoMore(container.Id);
  await rm(join(stateDir, files.nodeFile), { force: true });
  log.info({ container: container?.Name ?? '' }, 'nothing of Berth is left on this host but this agent, which ends');
  // The engine ends this very process: nothing that follows is certain to happen.
  if (container) await calls.remove(container.Id);
}

/** Of a process in a container: the engine mounts files of the container's own folder into it. */
export function containerIdOf(mountinfo: string): string | undefined {
  return /\/containers\/([0-9a-f]{64})\/(?:hostname|hosts|resolv\.conf)\s/u.exec(mountinfo)?.[1];
}
