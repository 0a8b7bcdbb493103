import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rpc } from '@berth/contracts';
import type { CatalogServiceImplementation, NodeServiceImplementation } from '@berth/contracts/registry';
import type { ControlServiceImplementation } from '@berth/contracts/scheduler';
import { createAuthority, createCsr, createKey, signIdentity } from '@berth/identity';
import type { CallerContext, Identity } from '@berth/kernel';
import { bind } from '@berth/kernel';
import { silentLogger } from '@berth/process';
import type { RpcServer } from '@berth/rpc';
import { memoryTls, startServer } from '@berth/rpc';
import { Contexts } from '../context.ts';
import type { Credentials } from '../credentials.ts';

/** A line that has not ended by then is killed. */
const lineTimeoutMs = 60_000;

const main = join(import.meta.dirname, '../main.ts');

type Control = Partial<ControlServiceImplementation<CallerContext>>;
type Catalog = Partial<CatalogServiceImplementation<CallerContext>>;
type Nodes = Partial<NodeServiceImplementation<CallerContext>>;

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A control plane of this process, over real gRPC with mTLS, that answers what a test says; and `berth` as a process of its own. */
export class FakeCluster {
  /** Addresses that the member list gives, by service. */
  readonly members = new Map<string, string[]>();
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-cli-'));
  readonly contexts = new Contexts({ BERTH_CONFIG_DIR: join(this.folder, 'config') });
  readonly #servers = new Set<RpcServer>();
  readonly #credentials: (identity: Identity) => Promise<Credentials>;

  readonly #compiled: string;

  private constructor(credentials: (identity: Identity) => Promise<Credentials>, compiled: string) {
    this.#credentials = credentials;
    this.#compiled = compiled;
    mkdirSync(join(this.folder, 'bin'));
    const program = `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`;
    writeFileSync(join(this.folder, 'bin/berth'), program, { mode: 0o755 });
  }

  /** `compiled` is a folder that outlives it: what one `berth` has compiled, the next need not. */
  static async start(compiled: string): Promise<FakeCluster> {
    const authority = await createAuthority({ commonName: 'Berth cluster test', nowMs: Date.now() });
    return new FakeCluster(async (identity) => {
      const key = await createKey();
      const csr = await createCsr(key);
      const request = { identity, csr, addresses: ['127.0.0.1'], nowMs: Date.now() };
      return { cert: await signIdentity(authority, request), key, ca: authority.certPem };
    }, compiled);
  }

  /** A replica of the registry. Returns its address and what ends it. */
  async registry(catalog: Catalog = {}, nodes: Nodes = {}) {
    const listMembers = async () => ({
      members: [...this.members].flatMap(([name, addresses]) =>
        addresses.map((address) => ({
          identity: `service:${name}`,
          instance: address,
          address,
          hostname: 'h1',
          version: '',
          joinAddress: undefined,
        })),
      ),
      revision: undefined,
    });
    const services = [
      bind(rpc.catalog, complete<CatalogServiceImplementation<CallerContext>>({ listMembers, ...catalog } as Catalog)),
      bind(rpc.node, complete<NodeServiceImplementation<CallerContext>>(nodes)),
    ];
    return this.#serve('registry', services);
  }

  /** A replica of the scheduler. */
  async scheduler(control: Control) {
    return this.#serve('scheduler', [
      bind(rpc.control, complete<ControlServiceImplementation<CallerContext>>(control)),
    ]);
  }

  async #serve(name: string, services: Parameters<typeof startServer>[0]['services']) {
    const tls = memoryTls(await this.#credentials({ role: 'service', name }));
    const server = await startServer({
      address: '127.0.0.1:0',
      access: { kind: 'mtls', tls },
      services,
      logger: silentLogger,
    });
    this.#servers.add(server);
    const address = `127.0.0.1:${server.port}`;
    this.members.set(name, [...(this.members.get(name) ?? []), address]);
    return {
      address,
      stop: async () => {
        this.#servers.delete(server);
        await server.stop(100);
      },
    };
  }

  /** Writes a context; the last one written is the current one. */
  async context(name: string, registries: readonly string[], identity: Identity = { role: 'operator', name: 'admin' }) {
    this.contexts.write({ name, clusterId: 'c1', registries }, await this.#credentials(identity));
  }

  /** A shell's command that runs these lines of bash in a terminal of their own, 101 by 31. */
  inTerminal(lines: string): string {
    const file = join(this.folder, `lines-${performance.now()}.sh`);
    writeFileSync(file, `stty cols 101 rows 31\n${lines}\n`);
    return `script -qec 'bash ${file}' /dev/null`;
  }

  /** Runs a line of bash, in which `berth` is a command, to its end. No input. */
  shell(line: string): Promise<Ended> {
    const running = this.start(line);
    running.endInput();
    return running.ended;
  }

  /** Starts a line of bash, in which `berth` is a command, in a process group of its own. */
  start(line: string): Running {
    return new Running(line, {
      ...process.env,
      PATH: `${join(this.folder, 'bin')}:${process.env['PATH']}`,
      BERTH_CONFIG_DIR: join(this.folder, 'config'),
      BERTH_CONTEXT: undefined,
      NODE_COMPILE_CACHE: this.#compiled,
      NO_COLOR: '1',
      TERM: 'xterm',
    });
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) await server.stop(100);
    rmSync(this.folder, { recursive: true });
  }
}

/** A line of bash on its way. */
export class Running {
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';
  readonly #child: ChildProcessWithoutNullStreams;

  constructor(line: string, env: NodeJS.ProcessEnv) {
    const child = spawn('bash', ['-c', line], { env, detached: true });
    this.#child = child;
    child.stdout.on('data', (data: Buffer) => (this.stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (this.stderr += data.toString()));
    // A line that does not read its input closes the pipe early.
    child.stdin.on('error', () => undefined);
    const timer = setTimeout(() => this.signal('SIGKILL'), lineTimeoutMs);
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      // What the line left behind in its group holds its pipes open: it ends with it.
      child.on('exit', () => setTimeout(() => this.signal('SIGKILL'), 200));
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? 128, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  write(text: string): void {
    this.#child.stdin.write(text);
  }

  endInput(): void {
    this.#child.stdin.end();
  }

  /** To the line and all that it started. */
  signal(name: NodeJS.Signals): void {
    try {
      if (this.#child.pid !== undefined) process.kill(-this.#child.pid, name);
    } catch {
      // They have ended by themselves.
    }
  }

  /** Resolves when the output so far says so. */
  async until(said: RegExp): Promise<void> {
    const deadline = performance.now() + lineTimeoutMs;
    while (!said.test(this.stdout)) {
      if (performance.now() > deadline) throw new Error(`never said ${said}: ${this.stdout}${this.stderr}`);
      await sleep(20);
    }
  }
}

/** Methods that no test calls fail. */
function complete<T extends object>(handler: Partial<T>): T {
  return new Proxy(handler, {
    get: (target, name) =>
      Reflect.get(target, name) ??
      (() => {
        throw new Error(`the test says nothing of ${String(name)}`);
      }),
  }) as T;
}
