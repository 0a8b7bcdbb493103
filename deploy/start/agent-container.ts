import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { run, tryRun } from '../system/run.ts';
import { listens } from './listens.ts';
import { agentSocket } from './place.ts';

const startTimeoutMs = 60_000;
const settingsLabel = 'io.berth.start';

export interface AgentContainerOptions {
  /** For DOCKER_HOST; undefined: the docker client's own engine. */
  readonly dockerHost: string | undefined;
  /** Container's name. */
  readonly name: string;
  /** State of the agent and of the control plane; the same path inside and outside. */
  readonly stateDir: string;
  /** Image of the agent, by its content. */
  readonly image: string;
  /** Images of the control plane by app, by their content: a new build replaces what runs. */
  readonly environment: Readonly<Record<string, string>>;
}

/** Arguments of `docker run`: the README shows the same line to those who do it by hand. */
export function agentRunArguments(options: AgentContainerOptions): string[] {
  const socket = (options.dockerHost ?? 'unix:///var/run/docker.sock').replace('unix://', '');
  return [
    ...['--name', options.name, '--restart', 'always', '--network', 'host', '--pid', 'host'],
    ...['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', '--cap-add', 'NET_RAW', '--cap-add', 'NET_BIND_SERVICE'],
    ...['--cap-add', 'DAC_OVERRIDE', '--cap-add', 'CHOWN', '--cap-add', 'FOWNER'],
    ...['--volume', `${socket}:/var/run/docker.sock`],
    ...['--volume', `${options.stateDir}:${options.stateDir}`],
    // Where names outside the cluster are asked; a bind of the folder, so that a replaced file is seen.
    ...['--volume', '/etc:/host/etc:ro'],
    ...['--env', `BERTH_STATE_DIR=${options.stateDir}`],
    ...Object.entries(options.environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    options.image,
  ];
}

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
