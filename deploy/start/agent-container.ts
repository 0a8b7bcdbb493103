import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentContainerOptions } from '@berth/workload';
import { agentRunArguments } from '@berth/workload';
import { run, tryRun } from '../system/run.ts';
import { listens } from './listens.ts';
import { agentSocket } from './place.ts';

const startTimeoutMs = 60_000;
const settingsLabel = 'io.berth.start';

/** Each part of the control plane by its content, so that a new build replaces it and an unchanged one stays. */
export function controlPlaneImages(reference: (name: string) => string): Record<string, string> {
  const apps = ['etcd', 'nats', 'bootstrap', 'registry', 'scheduler', 'network-manager'];
  return Object.fromEntries(
    apps.map((app) => [`BERTH_IMAGE_${app.replaceAll('-', '_').toUpperCase()}`, reference(`berth/${app}`)]),
  );
}

/** Starts the agent's container, or leaves it alone if it runs with these very settings. True when it was started. */
export async function ensureAgent(options: AgentContainerOptions): Promise<boolean> {
  const docker = dockerCommand(options.dockerHost);
  const args = agentRunArguments(options);
  const settings = createHash('sha256').update(JSON.stringify(args)).digest('hex').slice(0, 16);
  const format = `{{.State.Running}} {{index .Config.Labels "${settingsLabel}"}}`;
  const found = await tryRun([...docker, 'inspect', '--format', format, options.name]);
  if (found.code === 0 && found.stdout.trim() === `true ${settings}`) return false;
  if (found.code === 0) await run([...docker, 'rm', '--force', options.name]);
  mkdirSync(options.stateDir, { recursive: true, mode: 0o711 });
  await run([...docker, 'run', '--detach', '--label', `${settingsLabel}=${settings}`, ...args]);
  return true;
}

/** Waits until the agent listens at its socket. */
export async function waitForAgent(options: AgentContainerOptions): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  while (!(await listens({ path: agentSocket(options.stateDir) }))) {
    if (performance.now() > deadline) {
      const log = await tryRun([...dockerCommand(options.dockerHost), 'logs', '--tail', '20', options.name]);
      throw new Error(
        `the agent does not listen at ${agentSocket(options.stateDir)}; its log ends:\n${log.stdout}${log.stderr}`,
      );
    }
    await sleep(100);
  }
}

export function dockerCommand(dockerHost: string | undefined): string[] {
  return dockerHost === undefined ? ['docker'] : ['docker', '--host', dockerHost];
}
