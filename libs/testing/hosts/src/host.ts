import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuUsage, createGroups, memoryUsage, removeGroups, setFrozen, thawAll } from './cgroup.ts';
import { dockerClient } from './docker-client.ts';
import type { ExecOptions, ExecResult } from './exec.ts';
import { execute, run } from './exec.ts';
import { plugIn, unplug } from './network-namespace.ts';

export const bootTimeoutMs = 10_000;
export const engineTimeoutMs = 60_000;
const powerOffTimeoutMs = 10_000;
const bootScript = join(import.meta.dirname, 'boot.sh');

export interface HostSettings {
  readonly name: string;
  /** Its number in the lab, from 1: gives its address and those of its engine's own bridge. */
  readonly index: number;
  readonly address: string;
  /** Everything of the host that outlives a power-off. */
  readonly directory: string;
  /** Of the lab; names its namespaces and control groups. */
  readonly lab: string;
  /** Network namespace of the switch. */
  readonly lan: string;
  /** Address of its name server. */
  readonly resolver: string;
  /** Run a Docker Engine. */
  readonly engine: boolean;
  readonly dockerdArgs: readonly string[];
}

/**
 * A host of its own on this machine: network, PID, mount, UTS and IPC namespaces with PID 1, Docker Engine, addresses,
 * settings and disk of its own. It shares the machine's kernel and, read-only in effect, its installed programs.
 * Its PID namespace makes a power-off safe and complete: with PID 1 the kernel ends engine, containers and all else,
 * and nothing outside. A host dies with the process that made it.
 */
export class Host {
  readonly name: string;
  /** Its number in the lab, from 1. */
  readonly index: number;
  /** On the lab's switch. */
  readonly address: string;
  readonly dir: string;
  /** Name under /run/netns while the host is on. */
  readonly netns: string;
  readonly #settings: HostSettings;
  readonly #group: string;

  constructor(settings: HostSettings) {
    this.#settings = settings;
    this.name = settings.name;
    this.index = settings.index;
    this.address = settings.address;
    this.dir = settings.directory;
    this.netns = `${settings.lab}-${settings.name}`;
    this.#group = `${settings.lab}/${settings.name}`;
  }

  /** The engine's socket, reachable from outside the host. */
  get socket(): string {
    return join(this.dir, 'docker.sock');
  }

  /** For DOCKER_HOST, inside and outside the host. */
  get dockerHost(): string {
    return `unix://${this.socket}`;
  }

  /** PID 1 of the host as seen from outside; undefined while it is off. */
  get initPid(): number | undefined {
    return readInit(this.dir);
  }

  get engineData(): string {
    return join(this.dir, 'docker');
  }

  /** Where the engine writes its log. */
  get engineLog(): string {
    return join(this.dir, 'dockerd.log');
  }

  /** Powers the host on: same disk, same address. Resolves when its engine answers. */
  async start(): Promise<void> {
    if (this.initPid !== undefined) throw new Error(`host ${this.name} is on already`);
    const { lan, address, resolver, engine } = this.#settings;
    mkdirSync(this.dir, { recursive: true });
    rmSync(this.socket, { force: true });
    writeFileSync(join(this.dir, 'resolv.conf'), `nameserver ${resolver}\n`);
    writeFileSync(join(this.dir, 'hosts'), `127.0.0.1 localhost\n${address} ${this.name}\n`);
    await plugIn({ lan, namespace: this.netns, port: this.name, address });
    await this.#boot();
    if (engine) await this.startEngine();
  }

  /** Power-off: every process of the host ends at once, its cable is dead. The disk stays. */
  async kill(): Promise<void> {
    await powerOff(this.dir, this.#group);
    await unplug({ lan: this.#settings.lan, namespace: this.netns, port: this.name });
    rmSync(this.socket, { force: true });
  }

  /** Power-off, and the disk is gone too. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /**
   * Runs a program of the machine as a process of the host, to its end. Rejects when it fails. DOCKER_HOST is the
   * host's engine unless `env` says otherwise.
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    return run(this.#enter(argv), this.#withEngine(options), argv);
  }

  /** The same, whatever the exit code. */
  async tryExec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return execute(this.#enter(argv), this.#withEngine(options));
  }

  /** Starts a program as a process of the host; it dies with the returned child (SIGKILL reaches it). */
  spawn(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [program, ...args] = this.#enter(argv);
    return spawn(program ?? '', args, {
      ...options,
      env: { ...process.env, ...this.#withEngine({}).env, ...options.env },
    });
  }

  /** Runs the Docker client against the host's engine and returns its output. */
  async docker(args: readonly string[], options: ExecOptions = {}): Promise<string> {
    return run([dockerClient(), '--host', this.dockerHost, ...args], options);
  }

  /** Loads the images of an archive made by `docker save`. */
  async loadImage(tar: string): Promise<void> {
    await this.docker(['load', '--quiet', '--input', tar]);
  }

  /** Starts the engine of a running host and resolves when it answers. */
  async startEngine(): Promise<void> {
    const { index, lab, name, dockerdArgs } = this.#settings;
    const dockerd = [
      ...['dockerd', '--data-root', this.engineData, '--exec-root', '/run/docker'],
      ...['--pidfile', '/run/docker.pid', '--host', this.dockerHost, '--host', 'unix:///run/docker.sock'],
      ...['--bip', `198.18.${100 + index}.1/24`, '--default-address-pool', 'base=198.18.160.0/19,size=24'],
      ...['--cgroup-parent', `/${lab}/${name}`, '--log-level', 'warn', '--userland-proxy=false', ...dockerdArgs],
    ];
    // setsid --fork: the engine belongs to the host alone, not to this call.
    await this.exec(['sh', '-c', `exec setsid --fork "$@" >>"${this.engineLog}" 2>&1 </dev/null`, 'sh', ...dockerd]);
    const deadline = performance.now() + engineTimeoutMs;
    while (!(await answers(this.socket))) {
      if (performance.now() > deadline) throw new Error(`engine of ${this.name} doesn't answer: see ${this.engineLog}`);
      await sleep(30);
    }
  }

  /** Crashes only the engine (SIGKILL); its containers end or stay as the engine's settings say. */
  async killEngine(): Promise<void> {
    await this.exec(['sh', '-c', 'kill -9 "$(cat /run/docker.pid)" && rm -f /run/docker.pid']);
  }

  /** Hangs the host: no process of it runs, but its kernel still answers a ping. */
  freeze(): void {
    setFrozen(this.#group, true);
  }

  thaw(): void {
    setFrozen(this.#group, false);
  }

  /** Hangs the processes of one container, which its engine does not know of: they answer nothing, connections stay. */
  async freezeContainer(container: string): Promise<void> {
    await this.#signalContainer(container, 'STOP');
  }

  async thawContainer(container: string): Promise<void> {
    await this.#signalContainer(container, 'CONT');
  }

  /** Bytes, page cache included. */
  memory(): number {
    return memoryUsage(this.#group);
  }

  /** Seconds of cpu used since power-on. */
  cpuSeconds(): number {
    return cpuUsage(this.#group);
  }

  async #signalContainer(container: string, signal: 'STOP' | 'CONT'): Promise<void> {
    const pids = (await this.docker(['top', container, '-eo', 'pid'])).trim().split('\n').slice(1);
    // One that has ended meanwhile (a health check's) needs no signal.
    const each = `for pid; do kill -${signal} "$pid" || [ ! -e "/proc/$pid" ] || exit 1; done`;
    await this.exec(['sh', '-c', each, 'sh', ...pids.map((pid) => pid.trim())]);
  }

  async #boot(): Promise<void> {
    const console = openSync(join(this.dir, 'console.log'), 'a');
    const groups = createGroups(this.#group);
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'SIGKILL', '--', 'nsenter', `--net=/run/netns/${this.netns}`, '--'],
        ...['unshare', '--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child', '--'],
        ...[bootScript, this.name, this.dir, ...groups],
      ],
      // A session of its own: an interrupt from the terminal is for the test run, which then ends it in order.
      { stdio: ['ignore', console, console], detached: true },
    );
    closeSync(console);
    child.unref();
    const deadline = performance.now() + bootTimeoutMs;
    while (this.initPid === undefined) {
      if (child.exitCode !== null || performance.now() > deadline) {
        throw new Error(`host ${this.name} did not boot: ${readFileSync(join(this.dir, 'console.log'), 'utf8')}`);
      }
      await sleep(5);
    }
  }

  /** A docker client in the host finds the host's engine, not the machine's. */
  #withEngine(options: ExecOptions): ExecOptions {
    return { ...options, env: { DOCKER_HOST: this.dockerHost, ...options.env } };
  }

  #enter(argv: readonly string[]): string[] {
    const pid = this.initPid;
    if (pid === undefined) throw new Error(`host ${this.name} is off`);
    const joinGroups = 'for group in $BERTH_GROUPS; do echo 0 >"$group/cgroup.procs"; done; exec "$@"';
    return [
      ...['env', `BERTH_GROUPS=${createGroups(this.#group).join(' ')}`, 'sh', '-c', joinGroups, 'sh'],
      // Without --wdns, entering the mount namespace changes the working directory to /.
      ...['nsenter', `--target=${pid}`, '-m', '-u', '-i', '-n', '-p', `--wdns=${process.cwd()}`, '--'],
      ...['setpriv', '--pdeathsig', 'SIGKILL', '--', 'env', '--unset=BERTH_GROUPS', '--'],
      ...argv,
    ];
  }
}

/** Ends every process of the host in this directory and removes its control groups; nothing happens when it is off. */
export async function powerOff(directory: string, group: string): Promise<void> {
  const pid = readInit(directory);
  if (pid !== undefined) {
    process.kill(pid, 'SIGKILL');
    try {
      // A frozen process takes no signal, not even this one.
      thawAll(group);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    // PID 1 is gone only when all others of its namespace are.
    const deadline = performance.now() + powerOffTimeoutMs;
    while (readInit(directory) !== undefined) {
      if (performance.now() > deadline) throw new Error(`PID 1 (${pid}) of ${directory} does not end`);
      await sleep(5);
    }
  }
  rmSync(join(directory, 'init'), { force: true });
  await removeGroups(group);
}

/** The recorded PID namespace guards against a pid that was used again. */
function readInit(directory: string): number | undefined {
  const file = join(directory, 'init');
  if (!existsSync(file)) return undefined;
  const [pid, namespace] = readFileSync(file, 'utf8').trim().split(' ');
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`) === namespace ? Number(pid) : undefined;
  } catch {
    return undefined;
  }
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request({ socketPath, path: '/_ping', timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ping.on('timeout', () => ping.destroy());
    ping.on('error', () => resolve(false));
    ping.end();
  });
}
