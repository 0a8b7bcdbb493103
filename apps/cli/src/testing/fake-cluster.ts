import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

  private constructor(credentials: (identity: Identity) => Promise<Credentials>) {
    this.#credentials = credentials;
    mkdirSync(join(this.folder, 'bin'));
    const program = `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`;
    writeFileSync(join(this.folder, 'bin/berth'), program, { mode: 0o755 });
  }

  static async start(): Promise<FakeCluster> {
    const authority = await createAuthority({ commonName: 'Berth cluster test', nowMs: Date.now() });
    return new FakeCluster(async (identity) => {
      const key = await createKey();
      const csr = await createCsr(key);
      const request = { identity, csr, addresses: ['127.0.0.1'], nowMs: Date.now() };
      return { cert: await signIdentity(authority, request), key, ca: authority.certPem };
    });
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

  /** Runs `berth` to its end; `line` is a shell's, in which `berth` is a command. */
  shell(line: string, options: { readonly timeoutMs?: number } = {}): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const child = spawn('bash', ['-c', line], {
        env: {
          ...process.env,
          PATH: `${join(this.folder, 'bin')}:${process.env['PATH']}`,
          BERTH_CONFIG_DIR: join(this.folder, 'config'),
          NO_COLOR: '1',
          TERM: 'xterm',
          BERTH_CONTEXT: undefined,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
        // A process group of its own: what the line leaves behind ends with it.
        detached: true,
      });
      const end = (): void => {
        if (child.pid === undefined) return;
        try {
          process.kill(-child.pid, 'SIGKILL');
        } catch {
          // It has ended by itself.
        }
      };
      const timer = setTimeout(end, options.timeoutMs ?? 60_000);
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
      child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
      child.on('error', reject);
      child.on('exit', () => setTimeout(end, 500));
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? 128, stdout, stderr });
      });
    });
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) await server.stop(100);
    rmSync(this.folder, { recursive: true });
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
