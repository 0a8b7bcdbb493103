import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canInstall, installPackages, missingPackages, systemPath } from '../system/debian.ts';
import { identify, isRunning } from '../system/process.ts';
import { tryRun } from '../system/run.ts';
import { readMachineState } from './machine-state.ts';
import type { EnginePlace, EngineRecord } from './record.ts';
import { dataDir, defaultPlace, logFile, readRecord, writeRecord } from './record.ts';

export interface Engine {
  /** For DOCKER_HOST; undefined: the docker client finds the engine by itself. */
  readonly dockerHost: string | undefined;
  readonly version: string;
  /** True: started by Berth, and removed by {@link stopEngine}. */
  readonly own: boolean;
}

export interface EnsureOptions {
  readonly place?: EnginePlace;
  readonly onProgress?: (text: string) => void;
}

export const startTimeoutMs = 60_000;
const probeTimeoutMs = 10_000;
const usualSocket = '/var/run/docker.sock';

/** Everything an engine needs, and what takes its traces away again. */
const needed = [
  { program: 'dockerd', package: 'docker.io' },
  { program: 'docker', package: 'docker.io' },
  { program: 'iptables', package: 'iptables' },
  { program: 'nft', package: 'nftables' },
  { program: 'ip', package: 'iproute2' },
];

/** There is no engine, and none can be started here; the message says what to do. */
export class NoEngineError extends Error {}

/**
 * The machine's Docker Engine; where none answers, on Debian as root, one of our own: installed if need be, with its
 * own data, its published ports on 127.0.0.1 unless a container says otherwise.
 */
export async function ensureEngine(options: EnsureOptions = {}): Promise<Engine> {
  const { place = defaultPlace, onProgress = () => undefined } = options;
  const record = readRecord(place);
  if (record?.process && isRunning(record.process)) return await ownEngine(place, record);
  // With a record, an engine of ours died: it is started again rather than another one be used.
  if (!record) {
    const found = await findEngine();
    if (found) return found;
  }
  if (!canInstall()) throw new NoEngineError(await remedy());
  const packages = await missingPackages(needed);
  if (packages.length > 0) {
    onProgress(`installing ${packages.join(', ')}`);
    await installPackages(packages);
    // On a machine with an init system the package starts an engine, which is then the user's.
    const started = record ? undefined : await findEngine();
    if (started) return started;
  }
  onProgress('starting a Docker Engine');
  return await startOwn(place, record);
}

/** The engine that the docker client reaches by itself. */
async function findEngine(dockerHost?: string): Promise<Engine | undefined> {
  const host = dockerHost === undefined ? [] : ['--host', dockerHost];
  const seconds = String(probeTimeoutMs / 1_000);
  const probe = ['timeout', seconds, 'docker', ...host, 'version', '--format', '{{.Server.Version}}'];
  const { code, stdout } = await tryRun(probe);
  return code === 0 ? { dockerHost, version: stdout.trim(), own: false } : undefined;
}

async function startOwn(place: EnginePlace, earlier: EngineRecord | undefined): Promise<Engine> {
  const free = existsSync(usualSocket) ? join(place.runDir, 'docker.sock') : usualSocket;
  const dockerHost = earlier?.dockerHost ?? `unix://${free}`;
  const record: EngineRecord = { dockerHost, before: earlier?.before ?? (await readMachineState()) };
  // Before the start, so that whatever happens next can be undone.
  writeRecord(place, record);
  mkdirSync(place.runDir, { recursive: true });
  const configFile = join(place.stateDir, 'daemon.json');
  writeFileSync(configFile, JSON.stringify(daemonConfig(place, dockerHost), undefined, 2));
  const log = openSync(logFile(place), 'a');
  const child = spawn('dockerd', ['--config-file', configFile], {
    cwd: '/',
    detached: true,
    env: { ...process.env, PATH: systemPath() },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  child.unref();
  const started = { ...record, process: identify(child.pid ?? 0) };
  writeRecord(place, started);
  return await ownEngine(place, started);
}

async function ownEngine(place: EnginePlace, record: EngineRecord): Promise<Engine> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const found = await findEngine(record.dockerHost);
    if (found) return { ...found, own: true };
    const alive = record.process !== undefined && isRunning(record.process);
    if (!alive || performance.now() > deadline) {
      const end = readFileSync(logFile(place), 'utf8').split('\n').slice(-15).join('\n');
      throw new Error(
        `the Docker Engine ${alive ? 'does not answer' : 'ended'}; its log ${logFile(place)} ends:\n${end}`,
      );
    }
    await sleep(100);
  }
}

/** All settings in a file of our own, so that the user's /etc/docker/daemon.json has no part in it. */
function daemonConfig(place: EnginePlace, dockerHost: string): Record<string, unknown> {
  return {
    hosts: [dockerHost],
    'data-root': dataDir(place),
    'exec-root': join(place.runDir, 'docker'),
    pidfile: join(place.runDir, 'dockerd.pid'),
    ip: '127.0.0.1',
    'cgroup-parent': place.cgroup,
    'exec-opts': ['native.cgroupdriver=cgroupfs'],
    // Where the machine runs a containerd, containers of another engine in it are not ours.
    'containerd-namespace': 'berth-dev',
    'log-level': 'warn',
  };
}

async function remedy(): Promise<string> {
  const { code, stderr } = await tryRun(['docker', 'version']);
  const found = code === 127 ? 'no docker command is installed' : (stderr.trim().split('\n').at(-1) ?? '');
  const steps =
    process.platform === 'linux'
      ? [
          'If an engine is installed, start it: sudo systemctl start docker',
          'If it runs and you may not use it: sudo usermod -aG docker $USER, then log in again',
          'On Debian or Ubuntu, as root, npm start installs and starts one by itself: sudo npm start',
        ]
      : ['Install Docker Desktop, or start it when it is installed, and try again'];
  return ['Berth needs a Docker Engine and none answers.', `  (${found})`, ...steps.map((step) => `  - ${step}`)].join(
    '\n',
  );
}
