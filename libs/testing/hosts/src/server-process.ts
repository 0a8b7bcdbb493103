import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Link } from './link.ts';
import { createLink } from './link.ts';
import type { OwnedDirectory } from './owned-directory.ts';
import { createOwnedDirectory, removeOwnedDirectory } from './owned-directory.ts';
import { sweepOnce } from './sweep.ts';

export const startTimeoutMs = 20_000;

/** What a server program needs to be run by {@link ServerProcess}. */
export interface ServerProgram {
  readonly name: string;
  /** Where the server listens; part of its arguments. */
  readonly address: string;
  readonly link: Link | undefined;
  readonly directory: OwnedDirectory;
  argv(): readonly string[];
  /** Resolves true once the server takes requests; called until it does. */
  isReady(): Promise<boolean>;
}

/** A real server that a test may kill, freeze and cut off. It dies with the test's process, however that ends. */
export class ServerProcess {
  readonly #program: ServerProgram;
  #child: ChildProcess | undefined;

  constructor(program: ServerProgram) {
    this.#program = program;
  }

  get address(): string {
    return this.#program.address;
  }

  get directory(): string {
    return this.#program.directory.path;
  }

  /** The cable of an isolated server. */
  get link(): Link | undefined {
    return this.#program.link;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get logFile(): string {
    return join(this.directory, 'log');
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** Starts the server on the data it has, and resolves when it takes requests. */
  async start(): Promise<void> {
    if (this.#child) throw new Error(`${this.#program.name} runs already`);
    const [program, ...args] = [
      ...(this.#program.link?.enter ?? []),
      ...['setpriv', '--pdeathsig', 'SIGKILL', '--'],
      ...this.#program.argv(),
    ];
    const log = openSync(this.logFile, 'a');
    const child = spawn(program ?? '', args, { stdio: ['ignore', log, log], cwd: this.directory });
    closeSync(log);
    this.#child = child;
    child.on('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    await once(child, 'spawn');
    const deadline = performance.now() + startTimeoutMs;
    while (!(await this.#program.isReady())) {
      if (this.#child !== child) throw new Error(`${this.#program.name} ended at its start:\n${this.#logEnd()}`);
      if (performance.now() > deadline) {
        await this.kill();
        throw new Error(`${this.#program.name} took no requests within ${startTimeoutMs} ms:\n${this.#logEnd()}`);
      }
      await sleep(20);
    }
  }

  /** `kill -9`: the server has no chance to tidy up. Its data stay. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Asks the server to stop in order (SIGTERM) and waits until it has. Its data stay. */
  async shutdown(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** `kill -9`, then a start on the same data and port. */
  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Freezes the server: its connections stay, nothing is answered. */
  pause(): void {
    this.signal('SIGSTOP');
  }

  resume(): void {
    this.signal('SIGCONT');
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#child?.kill(signal)) throw new Error(`${this.#program.name} doesn't run`);
  }

  /** Cuts the server off without a word: every packet to and from it is dropped. Needs `isolated: true`. */
  async drop(): Promise<void> {
    await this.#cable().drop();
  }

  async heal(): Promise<void> {
    await this.#cable().heal();
  }

  /** Kills the server and removes all it left: data, log, namespace. */
  async stop(): Promise<void> {
    await this.kill();
    await this.#program.link?.remove();
    removeOwnedDirectory(this.#program.directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  #cable(): Link {
    if (!this.#program.link) throw new Error(`${this.#program.name} must be started with isolated: true to be cut off`);
    return this.#program.link;
  }

  #logEnd(): string {
    return this.log().split('\n').slice(-20).join('\n');
  }
}

/** Where a server is to run: on loopback, or at the far end of a cable of its own. */
export interface Place {
  readonly address: string;
  readonly link: Link | undefined;
  readonly directory: OwnedDirectory;
}

export async function createPlace(kind: string, isolated: boolean): Promise<Place> {
  await sweepOnce();
  const directory = createOwnedDirectory(kind);
  const link = isolated ? await createLink() : undefined;
  return { address: link?.address ?? '127.0.0.1', link, directory };
}

/**
 * A TCP port of this address on which nothing listens, below the range that the kernel gives to clients. It is this
 * process's until it ends: tests that run side by side, each in a process of its own, never get the same.
 */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if ((await claim(port)) && (await canListen(port, address))) return port;
  }
}

/** A claim is an abstract socket of the port's name: the kernel lets one process have it, and takes it back from the dead. */
function claim(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().unref();
    server.once('error', () => resolve(false));
    server.listen(`\0berth-test-port-${port}`, () => resolve(true));
  });
}

function canListen(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, address, () => server.close(() => resolve(true)));
  });
}
