import { existsSync, globSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessIdentity } from '../system/process.ts';
import { endProcess, identify, isRunning, killProcess, processesWith } from '../system/process.ts';
import { run, tryRun } from '../system/run.ts';
import { engineBridges, removalOfEngineRules, removalOfNewChains, removalOfNewTables } from './firewall.ts';
import type { MachineState } from './machine-state.ts';
import { engineFiles, readDevices, readRules, readTables, restoreSysctls } from './machine-state.ts';
import type { EnginePlace, EngineRecord } from './record.ts';
import { defaultPlace, readRecord } from './record.ts';

export interface StopOptions {
  readonly place?: EnginePlace;
  readonly onProgress?: (text: string) => void;
}

const stopTimeoutMs = 30_000;
const removeTimeoutMs = 5_000;
/** The engine takes the rules of its own network away when it ends, but not the bridge. */
const defaultBridge = ['docker0'];

/**
 * Stops the engine that {@link ensureEngine} started, with everything that runs in it, and removes all its traces:
 * containers, volumes, data, devices, rules, mounts, control groups; sysctls get their earlier values. An engine of the
 * user is not touched. May be called again. Returns false when there is no engine of ours.
 */
export async function stopEngine(options: StopOptions = {}): Promise<boolean> {
  const { place = defaultPlace, onProgress = () => undefined } = options;
  const record = readRecord(place);
  if (!record) return false;
  onProgress('stopping the Docker Engine');
  await endContainers(record);
  if (record.process) await endProcess(record.process, stopTimeoutMs);
  // What a crashed engine left: containerd and its shims name the folder, containers are in the control group.
  const left = [
    ...processesWith(/^(dockerd|containerd|containerd-shim.*)$/, place.runDir),
    ...processesInCgroup(place),
  ];
  for (const each of left) await killProcess(each, removeTimeoutMs);
  onProgress('removing its traces');
  await unmountBelow([place.runDir, place.stateDir]);
  const bridges = new Set([...defaultBridge, ...engineBridges(await readRules('iptables', 'filter'))]);
  await removeBridges(record.before, bridges);
  await removeRules(record.before, bridges);
  restoreSysctls(record.before.sysctls);
  await removeCgroups(place);
  removeFiles(record);
  rmSync(place.runDir, { recursive: true, force: true });
  rmSync(place.stateDir, { recursive: true, force: true });
  return true;
}

/** By the engine, while it answers: it knows best what belongs to what. */
async function endContainers({ dockerHost, process }: EngineRecord): Promise<void> {
  if (!process || !isRunning(process)) return;
  const docker = ['timeout', String(stopTimeoutMs / 1_000), 'docker', '--host', dockerHost];
  const containers = words((await tryRun([...docker, 'ps', '--all', '--quiet'])).stdout);
  if (containers.length > 0) await tryRun([...docker, 'rm', '--force', '--volumes', ...containers]);
  await tryRun([...docker, 'network', 'prune', '--force']);
}

function processesInCgroup(place: EnginePlace): ProcessIdentity[] {
  return cgroupFolders(place)
    .flatMap((folder) => globSync('**/cgroup.procs', { cwd: folder }).map((file) => `${folder}/${file}`))
    .flatMap((file) => words(readFileSync(file, 'utf8')))
    .flatMap((pid) => identify(Number(pid)) ?? []);
}

/** In version 1 every controller has a tree, in version 2 there is one. */
function cgroupFolders({ cgroup }: EnginePlace): string[] {
  const trees = ['/sys/fs/cgroup', ...globSync('/sys/fs/cgroup/*/')];
  return trees.map((tree) => `${tree.replace(/\/$/, '')}${cgroup}`).filter((folder) => existsSync(folder));
}

async function removeCgroups(place: EnginePlace): Promise<void> {
  for (const folder of cgroupFolders(place)) {
    const deadline = performance.now() + removeTimeoutMs;
    // A group is busy until the kernel has buried its last process.
    while ((await tryRun(['find', folder, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+'])).code !== 0) {
      if (performance.now() > deadline) throw new Error(`the control group ${folder} can't be removed`);
      await sleep(50);
    }
  }
}

async function unmountBelow(folders: readonly string[]): Promise<void> {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mount) => folders.some((folder) => mount === folder || mount.startsWith(`${folder}/`)));
  // The last mounted first.
  for (const mount of mounts.reverse()) await run(['umount', '--lazy', mount]);
}

/** The cables of containers go with their bridge. */
async function removeBridges(before: MachineState, bridges: ReadonlySet<string>): Promise<void> {
  const found = await readDevices('type', 'bridge');
  for (const device of found.filter((name) => bridges.has(name) && !before.devices.includes(name))) {
    await run(['ip', 'link', 'del', device]);
  }
}

async function removeRules(before: MachineState, bridges: ReadonlySet<string>): Promise<void> {
  for (const [key, rules] of Object.entries(before.rules)) {
    const [program = '', table = ''] = key.split(' ');
    const now = await readRules(program, table);
    // Before the engine there was perhaps no iptables to tell the policies: those of a new table accept.
    const earlier = rules.length > 0 ? rules : now.filter((line) => line.startsWith('-P ')).map(accepting);
    for (const args of removalOfEngineRules({ before: earlier, now, bridges })) {
      await run([program, '-w', '-t', table, ...args]);
    }
  }
  // A chain with rules in it is somebody else's by now, and refuses to go.
  for (const args of removalOfNewChains({ before, now: await readTables() })) await tryRun(['nft', ...args]);
  for (const args of removalOfNewTables({ before, now: await readTables() })) await run(['nft', ...args]);
}

function accepting(policy: string): string {
  return policy.replace(/\w+$/, 'ACCEPT');
}

function removeFiles({ dockerHost, before }: EngineRecord): void {
  rmSync(dockerHost.replace('unix://', ''), { force: true });
  for (const file of engineFiles.filter((each) => existsSync(each) && !before.files.includes(each))) {
    if (file.endsWith('.json')) rmSync(file);
    // Sockets of containers that are gone.
    else if (file === '/run/containerd/s') rmSync(file, { recursive: true });
    // A folder that something else uses is not empty, and stays.
    else tryRemoveFolder(file);
  }
}

function tryRemoveFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
  }
}

function words(text: string): string[] {
  return text.split(/\s+/).filter(Boolean);
}
