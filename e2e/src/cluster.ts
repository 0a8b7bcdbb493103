import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestbookImages, imageTemplate, productImages } from '@berth/deploy/images';
import { agentRunArguments, agentSocket } from '@berth/deploy/start';
import type { ExecOptions, ExecResult, Host, Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';

export const images = [...productImages, ...guestbookImages, 'busybox:latest'];
export const cli = join(import.meta.dirname, '../../apps/cli/src/main.ts');

/** A whole Berth on a host of its own: engine, agent in its container, control plane, an operator with the CLI. */
export interface Cluster {
  readonly lab: Lab;
  readonly host: Host;
  readonly stateDir: string;
  /** Folder of the operator's contexts. */
  readonly configDir: string;
  /** Runs `berth`, whatever its exit code. */
  tryBerth(args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Runs `berth` and returns its output; throws when it fails. */
  berth(args: readonly string[], options?: ExecOptions): Promise<string>;
  /** The same with `--output json`, parsed. */
  json<T>(args: readonly string[]): Promise<T>;
  /** Writes a Compose file and gives its path. */
  compose(name: string, text: string): string;
  docker(args: readonly string[]): Promise<string>;
  /** Ids of the containers of a stack or of one of its services, newest first. */
  containers(stack: string, service?: string): Promise<string[]>;
  /** Runs a command in a container. */
  inContainer(container: string, argv: readonly string[]): Promise<ExecResult>;
  [Symbol.asyncDispose](): Promise<void>;
}

let shared: Promise<Cluster> | undefined;

/**
 * The cluster that files of tests share which leave it as they found it: one in each of vitest's processes,
 * where they run one after the other. It ends with that process.
 */
export function sharedCluster(): Promise<Cluster> {
  shared ??= startCluster();
  return shared;
}

/** Starts a cluster; nothing is left of it after dispose. */
export async function startCluster(): Promise<Cluster> {
  const template = await imageTemplate(images);
  const lab = await createLab({ hosts: 1, template });
  try {
    return await clusterOn(lab);
  } catch (error) {
    await lab.down();
    throw error;
  }
}

async function clusterOn(lab: Lab): Promise<Cluster> {
  const host = lab.hosts[0] as Host;
  const stateDir = join(host.dir, 'berth');
  const configDir = join(host.dir, 'config');
  const files = join(host.dir, 'compose');
  for (const folder of [stateDir, configDir, files]) mkdirSync(folder, { recursive: true });
  const agent = agentRunArguments({
    dockerHost: host.dockerHost,
    name: 'berth-agent',
    stateDir,
    image: 'berth/host-agent:dev',
    environment: { BERTH_ADVERTISE: host.address },
  });
  await host.docker(['run', '--detach', ...agent]);
  const tryBerth = (args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> =>
    host.tryExec([process.execPath, cli, ...args], {
      ...options,
      env: { BERTH_CONFIG_DIR: configDir, NO_COLOR: '1', ...options.env },
    });
  const berth = async (args: readonly string[], options: ExecOptions = {}): Promise<string> => {
    const { code, stdout, stderr } = await tryBerth(args, options);
    if (code !== 0) throw new Error(`berth ${args.join(' ')} ended with ${code}:\n${stderr}${stdout}`);
    return stdout;
  };
  const cluster: Cluster = {
    lab,
    host,
    stateDir,
    configDir,
    tryBerth,
    berth,
    json: async <T>(args: readonly string[]) => JSON.parse(await berth([...args, '--output', 'json'])) as T,
    compose(name, text) {
      const path = join(files, `${name}.yaml`);
      writeFileSync(path, text);
      return path;
    },
    docker: (args) => host.docker(args),
    async containers(stack, service) {
      const filters = [`label=berth.stack=${stack}`, ...(service ? [`label=berth.service=${service}`] : [])];
      const args = ['ps', '--quiet', '--no-trunc', ...filters.flatMap((filter) => ['--filter', filter])];
      return (await host.docker(args)).split('\n').filter(Boolean);
    },
    inContainer: (container, argv) => host.tryExec(['docker', 'exec', container, ...argv]),
    [Symbol.asyncDispose]: () => lab.down(),
  };
  await retry(30_000, async () => {
    const socket = agentSocket(stateDir);
    await berth([
      'cluster',
      'init',
      '--socket',
      socket,
      '--advertise',
      host.address,
      '--pool',
      '198.19.0.0/16',
      '--range-prefix',
      '24',
    ]);
  });
  return cluster;
}

/** Tries again until it works; then, or after the time, what happened last counts. */
export async function retry<T>(timeoutMs: number, step: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await step();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(200);
    }
  }
}
