import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { appBundle, guestbookImages, imageTemplate, productImages } from '@berth/deploy/images';
import { agentSocket } from '@berth/deploy/start';
import type { ExecOptions, ExecResult, Host, Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';
import { agentRunArguments } from '@berth/workload';

export const images = [...productImages, ...guestbookImages, 'busybox:latest'];

export interface ClusterOptions {
  /** How many hosts, all of them nodes. Default 1. */
  readonly hosts?: number;
  /** Second replicas of the three services. Default false. */
  readonly ha?: boolean;
  /** Arguments of every engine. */
  readonly dockerdArgs?: readonly string[];
  /** Name of the lab, for `npm run lab`. */
  readonly name?: string;
  readonly onProgress?: (line: string) => void;
  /** Further settings of the manager's agent. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A new node is ready after this time, or its test fails. */
const readyTimeoutMs = 30_000;

/** A whole Berth on hosts of its own: engines, agents in containers, control plane, an operator with the CLI. */
export interface Cluster {
  readonly lab: Lab;
  /** All that are nodes, or were. */
  readonly hosts: readonly Host[];
  /** The manager, the first of them: here `berth` and `docker` run. */
  readonly host: Host;
  /** Images that every engine of the lab has. */
  readonly images: readonly string[];
  /** State of the manager's agent. */
  readonly stateDir: string;
  /** The program `berth`, as its image carries it; a script of Node's. */
  readonly cli: string;
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
  /** Runs on a host what `berth cluster token` prints, and waits until it is a ready node. Returns the node's id. */
  join(host: Host): Promise<string>;
  /** Starts one more host, with the images; {@link join} makes it a node. */
  addHost(): Promise<Host>;
  /** Takes such a host away, whatever Berth thinks of it. */
  removeHost(host: Host): Promise<void>;
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

let sharedHosts: Promise<Cluster> | undefined;

/**
 * Three hosts with second replicas of the services, shared by the files of `hosts/`, which run one after the other in one
 * process. Each leaves it whole: every host on, joined and active, no stack, no cable cut.
 */
export function haCluster(): Promise<Cluster> {
  sharedHosts ??= startCluster({ hosts: 3, ha: true });
  return sharedHosts;
}

/** Starts a cluster, all nodes ready; nothing is left of it after dispose. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { hosts = 1, ha = false, dockerdArgs = [], environment = {}, name, onProgress = () => undefined } = options;
  const template = await imageTemplate(images, onProgress);
  onProgress(`starting ${hosts} host(s)`);
  const lab = await createLab({ hosts, template, dockerdArgs, ...(name === undefined ? {} : { name }) });
  try {
    onProgress('starting the control plane on h1');
    const cluster = await clusterOn(lab, { ...environment, ...(ha ? { BERTH_PROFILES: 'ha' } : {}) });
    const newcomers = lab.hosts.slice(1);
    if (newcomers.length > 0) onProgress(`joining: ${newcomers.map((host) => host.name).join(' ')}`);
    await Promise.all(newcomers.map((host) => cluster.join(host)));
    return cluster;
  } catch (error) {
    await lab.down();
    throw error;
  }
}

async function clusterOn(lab: Lab, environment: Readonly<Record<string, string>>): Promise<Cluster> {
  const host = lab.hosts[0] as Host;
  const cli = join(await appBundle('apps/cli'), 'lib/main.js');
  const hosts = [host];
  const stateDir = join(host.dir, 'berth');
  const configDir = join(lab.dir, 'config');
  const files = join(lab.dir, 'compose');
  for (const folder of [stateDir, configDir, files]) mkdirSync(folder, { recursive: true });
  const agent = agentRunArguments({
    dockerHost: host.dockerHost,
    name: 'berth-agent',
    stateDir,
    image: 'berth/host-agent:dev',
    environment: { BERTH_ADVERTISE: host.address, ...environment },
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
    hosts,
    host,
    images,
    stateDir,
    cli,
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
    async join(newcomer) {
      if (!hosts.includes(newcomer)) hosts.push(newcomer);
      await newcomer.exec(['sh', '-c', await berth(['cluster', 'token'])]);
      return retry(readyTimeoutMs, async () => {
        const nodes = await cluster.json<readonly NodeLine[]>(['node', 'ls']);
        const node = nodes.find((each) => each.hostname === newcomer.name && each.status === 'ready');
        if (node) return node.id;
        const log = await newcomer.docker(['logs', '--tail', '20', 'berth-agent']);
        throw new Error(`${newcomer.name} is no ready node: ${JSON.stringify(nodes)}; its agent's log ends:\n${log}`);
      });
    },
    addHost: () => lab.addHost(),
    async removeHost(leaver) {
      const at = hosts.indexOf(leaver);
      if (at >= 0) hosts.splice(at, 1);
      await lab.removeHost(leaver);
    },
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

interface NodeLine {
  readonly id: string;
  readonly hostname: string;
  readonly status: string;
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
