import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { helloOf, rpc } from '@berth/contracts';
import { Node, NodeStatus } from '@berth/contracts/registry';
import type { Assignment, ControlServiceClient, TaskView } from '@berth/contracts/scheduler';
import type { TaskStatus } from '@berth/contracts/workload';
import { DesiredState, StackSpec, TaskState } from '@berth/contracts/workload';
import type { AuthorityMaterial } from '@berth/identity';
import {
  createAuthority,
  createCsr,
  createKey,
  hashTokenSecret,
  newTokenSecret,
  readCertificate,
  signIdentity,
  signSubject,
} from '@berth/identity';
import type { BoundService, CallExtra, Identity, Revision } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import type { ClosableDialer } from '@berth/rpc';
import { bind, createDialer, memoryTls, startServer } from '@berth/rpc';
import type { EtcdStore } from '@berth/store-etcd';
import { connectEtcd } from '@berth/store-etcd';
import type { EtcdServer } from '@berth/testing-hosts';
import { freePort, recordFigures, startEtcd } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const clock = new SystemClock();
const rng = new SystemRng();
const logger = silentLogger;
const clusterId = 'c1';
const hello = helloOf(clusterId, 'test');
const end = new AbortController();
const node = Node.fromPartial({
  id: 'n1',
  hostname: 'host1',
  address: '127.0.0.1',
  agentPort: 1,
  manager: true,
  resources: { cpuMillis: 64_000, memoryBytes: 2 ** 36 },
  status: NodeStatus.NODE_STATUS_READY,
  dispatchSynced: true,
});

/** Two scheduler processes, real; etcd, real; registry, network-manager and an agent, played over real mTLS. */
class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-scheduler-'));
  readonly logs: string[] = [];
  readonly #processes = new Map<string, ChildProcess>();
  readonly #ports = new Map<string, number>();
  readonly #closing: (() => Promise<void> | void)[] = [];
  ca!: AuthorityMaterial;
  etcdCa!: AuthorityMaterial;
  etcd!: EtcdServer;
  store!: EtcdStore;
  node!: Node;
  nodeTls!: Awaited<ReturnType<typeof certificate>>;

  address(name: string): string {
    return `127.0.0.1:${this.#ports.get(name) ?? 0}`;
  }

  async start(): Promise<void> {
    for (const name of ['s1', 's1-http', 's2', 's2-http', 'registry', 'network-manager', 'nats']) {
      this.#ports.set(name, await freePort());
    }
    this.ca = await createAuthority({ commonName: 'Berth', nowMs: Date.now() });
    this.etcdCa = await createAuthority({ commonName: 'etcd', nowMs: Date.now() });
    const server = await this.#etcdFolder('server');
    const [certFile, keyFile, clientCaFile] = ['cert.pem', 'key.pem', 'ca.pem'].map((name) => join(server, name));
    this.etcd = await startEtcd({ tls: { certFile: certFile!, keyFile: keyFile!, clientCaFile: clientCaFile! } });
    const root = await this.#etcdFolder('root');
    const main = join(import.meta.dirname, '../../bootstrap/src/main.ts');
    const args = ['--etcd-endpoints', this.etcd.endpoint, '--etcd-certs', root, '--cluster-id', clusterId];
    const hash = hashTokenSecret(newTokenSecret(rng));
    await promisify(execFile)(process.execPath, [main, ...args, '--token-sha256', hash]);
    const read = (name: string) => readFileSync(join(root, name));
    const tls = { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') };
    this.store = connectEtcd({ endpoints: [this.etcd.endpoint], tls, clock, rng, logger });
    this.#closing.push(() => this.store.close());
    this.nodeTls = await certificate(this.ca, { role: 'node', id: 'n1' });
    this.node = { ...node, publicKeySha256: readCertificate(this.nodeTls.cert).publicKeySha256 };
    await this.#play('registry', [
      bind(
        rpc.catalog,
        played({
          watch: () => snapshot([{ scopes: [], key: 'node/n1', resource: { $case: 'node', value: this.node } }]),
        }),
      ),
      bind(
        rpc.presence,
        played({
          announceMember: () =>
            held({ members: [{ identity: 'service:network-manager', address: this.address('network-manager') }] }),
        }),
      ),
    ]);
    await this.#play('network-manager', [
      bind(rpc.network, played({ watch: () => snapshot([]), checkStack: async () => ({}) })),
    ]);
    for (const name of ['s1', 's2']) await this.startScheduler(name);
  }

  async startScheduler(name: string): Promise<void> {
    const certs = join(this.folder, 'scheduler');
    writeFolder(certs, await certificate(this.ca, { role: 'service', name: 'scheduler' }));
    const env = {
      BERTH_ADVERTISE: '127.0.0.1',
      BERTH_CERTS: certs,
      BERTH_ETCD_ENDPOINTS: this.etcd.endpoint,
      BERTH_ETCD_CERTS: await this.#etcdFolder('scheduler'),
      BERTH_GRPC_PORT: String(this.#ports.get(name)),
      BERTH_HTTP_PORT: String(this.#ports.get(`${name}-http`)),
      BERTH_REGISTRY_ADDRESSES: this.address('registry'),
      // Nobody is there: events are late, nothing else.
      BERTH_NATS_URLS: `tls://${this.address('nats')}`,
      BERTH_DRAIN_DELAY_MS: '0',
    };
    const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts')], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => this.logs.push(String(chunk)));
    this.#processes.set(name, child);
  }

  async ready(name: string): Promise<void> {
    await eventually(async () => {
      const answer = await fetch(`http://${this.address(`${name}-http`)}/readyz`);
      if (answer.status !== 200) throw new Error(`${await answer.text()}\n${this.logs.slice(-20).join('')}`);
    });
  }

  async metric(name: string, metric: string): Promise<number> {
    const text = await (await fetch(`http://${this.address(`${name}-http`)}/metrics`)).text();
    return Number(new RegExp(`^${metric}\\{.*\\} (.*)$`, 'mu').exec(text)?.[1] ?? Number.NaN);
  }

  async leader(): Promise<string> {
    return eventually(async () => {
      for (const name of ['s1', 's2']) {
        if ((await this.metric(name, 'berth_scheduler_leading').catch(() => 0)) === 1) return name;
      }
      throw new Error('nobody leads');
    });
  }

  async kill(name: string, signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#processes.get(name);
    if (!child || child.exitCode !== null) return null;
    child.kill(signal);
    await once(child, 'exit');
    return child.exitCode;
  }

  /** Everything of the scheduler's but its leases' keys. */
  async keys(): Promise<string[]> {
    const { entries } = await this.store.list('scheduler/');
    return entries
      .filter(({ key }) => !key.startsWith('scheduler/leader'))
      .map(({ key, modRevision }) => `${key}@${modRevision}`);
  }

  async dialer(identity: Identity): Promise<ClosableDialer> {
    const tls = identity.role === 'node' ? this.nodeTls : await certificate(this.ca, identity);
    const dialer = createDialer({ tls: memoryTls(tls), clock, rng, logger });
    this.#closing.push(() => dialer.close());
    return dialer;
  }

  readonly target = {
    identity: { role: 'service', name: 'scheduler' },
    addresses: () => [this.address('s1'), this.address('s2')],
  } as const;

  async stop(): Promise<void> {
    end.abort();
    for (const name of this.#processes.keys()) await this.kill(name, 'SIGKILL');
    for (const close of this.#closing.reverse()) await close();
    await this.etcd.stop();
    rmSync(this.folder, { recursive: true });
  }

  async #etcdFolder(user: string): Promise<string> {
    const path = join(this.folder, `etcd-${user}`);
    const key = await createKey();
    const names = { commonName: user, dnsNames: ['localhost'], addresses: ['127.0.0.1'] };
    const cert = await signSubject(this.etcdCa, { csr: await createCsr(key), ...names, nowMs: Date.now() });
    writeFolder(path, { cert, key, ca: this.etcdCa.certPem });
    return path;
  }

  async #play(name: string, services: readonly BoundService[]): Promise<void> {
    const tls = memoryTls(await certificate(this.ca, { role: 'service', name }));
    const server = await startServer({ address: this.address(name), access: { kind: 'mtls', tls }, services, logger });
    this.#closing.push(() => server.stop(100));
  }
}

/** A handler with only these methods; nice-grpc wants to see all. */
function played<T extends object>(methods: object): T {
  return new Proxy(methods, {
    get: (target, name) => Reflect.get(target, name) ?? (() => Promise.reject(new Error('not played'))),
    has: () => true,
  }) as T;
}

async function* snapshot(changes: readonly object[]): AsyncGenerator<object> {
  yield* held({ revision: { epoch: 'x', revision: 1 }, reset: true, more: false, changes });
}

async function* held(message: object): AsyncGenerator<object> {
  yield message;
  await new Promise<void>((resolve) => end.signal.addEventListener('abort', () => resolve()));
}

/** An agent without containers: what it is given runs at once. */
class PlayedAgent {
  readonly assignments = new Map<string, Assignment>();
  readonly #reported = new Map<string, number>();
  #since: Revision | undefined;

  async run(dialer: ClosableDialer): Promise<void> {
    const client = dialer.client(rpc.dispatch, cluster.target);
    while (!end.signal.aborted) {
      try {
        for await (const step of client.session({ hello, since: this.#since }, { signal: end.signal })) {
          if (step.full) this.assignments.clear();
          for (const each of step.assignments) this.assignments.set(each.task?.id ?? '', each);
          for (const id of step.removedTaskIds) this.assignments.delete(id);
          if (!step.more) this.#since = step.revision;
          const statuses = this.#changed();
          if (statuses.length > 0) await client.reportStatus({ statuses });
          for (const { taskId, state } of statuses) this.#reported.set(taskId ?? '', state ?? 0);
        }
      } catch {
        await clock.sleep(200, end.signal);
      }
    }
  }

  #changed(): Partial<TaskStatus>[] {
    return [...this.assignments.values()].flatMap(({ task, lastStatus }): Partial<TaskStatus>[] => {
      const runs = task?.desired === DesiredState.DESIRED_STATE_RUNNING;
      const state = runs ? TaskState.TASK_STATE_RUNNING : TaskState.TASK_STATE_SHUTDOWN;
      if (this.#reported.get(task?.id ?? '') === state) return [];
      const removed = task?.desired === DesiredState.DESIRED_STATE_REMOVE;
      return [
        { taskId: task?.id, run: 1, seq: (lastStatus?.seq ?? 0) + 1 + Number(!runs), state, removed, startedAtMs: 1 },
      ];
    });
  }
}

async function certificate(ca: AuthorityMaterial, identity: Identity) {
  const key = await createKey();
  const csr = await createCsr(key);
  const cert = await signIdentity(ca, { csr, identity, addresses: ['127.0.0.1'], nowMs: Date.now() });
  return { cert, key, ca: ca.certPem };
}

function writeFolder(path: string, files: { readonly cert: string; readonly key: string; readonly ca: string }): void {
  mkdirSync(path, { recursive: true });
  for (const name of ['cert', 'key', 'ca'] as const) writeFileSync(join(path, `${name}.pem`), files[name]);
}

async function eventually<T>(check: () => Promise<T> | T, withinMs = 30_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await clock.sleep(20);
    }
  }
}

const spec = (replicas: number, image = 'web:1') =>
  StackSpec.fromPartial({
    namespace: 'default',
    name: 'shop',
    services: [{ name: 'web', mode: { $case: 'replicated', value: { replicas } }, container: { image } }],
  });

const cluster = new Cluster();
let control: ControlServiceClient<CallExtra>;

const tasks = async (): Promise<TaskView[]> => (await control.listTasks({ stack: 'shop' })).tasks;
const running = (count: number, image = 'web:1') =>
  eventually(async () => {
    const views = await tasks();
    const up = views.filter(
      ({ task, status }) => task?.image === image && status?.state === TaskState.TASK_STATE_RUNNING,
    );
    expect([up.length, views.length]).toEqual([count, count]);
    return views.map(({ task }) => task?.id ?? '');
  });

beforeAll(async () => {
  await cluster.start();
  for (const name of ['s1', 's2']) await cluster.ready(name);
  control = (await cluster.dialer({ role: 'operator', name: 'admin' })).client(rpc.control, cluster.target);
  void new PlayedAgent().run(await cluster.dialer({ role: 'node', id: 'n1' }));
});
afterAll(() => cluster.stop());

describe('two schedulers on a real etcd', () => {
  it('bring tasks up, and leave every key alone when the same spec comes again', async ({ task }) => {
    const startMs = performance.now();
    await control.applyStack({ spec: spec(3) });
    const ids = await running(3);
    recordFigures(task, { 'apply to running ms': Math.round(performance.now() - startMs) });
    const before = await cluster.keys();
    const again = await control.applyStack({ spec: spec(3) });
    expect(again.changes).toEqual([]);
    await clock.sleep(3_000);
    expect(await cluster.keys()).toEqual(before);
    expect(await running(3)).toEqual(ids);
  });

  it('the leader is killed in mid-plan: the other goes on, no task is made twice', async ({ task }) => {
    const ids = await running(3);
    const leader = await cluster.leader();
    await control.applyStack({ spec: spec(300) });
    await cluster.kill(leader, 'SIGKILL');
    const startMs = performance.now();
    const after = await running(300);
    recordFigures(task, { 'fail-over to 300 running ms': Math.round(performance.now() - startMs) });
    expect(after).toEqual(expect.arrayContaining(ids));
    const slots = (await tasks()).map(({ task: each }) => each?.slot);
    expect(new Set(slots).size).toBe(300);
    await cluster.startScheduler(leader);
    await cluster.ready(leader);
  });

  it('etcd is killed and comes back: what was acknowledged stands, and work goes on', async () => {
    const ids = await running(300);
    await cluster.etcd.kill();
    await clock.sleep(2_000);
    await cluster.etcd.start();
    await eventually(() => control.applyStack({ spec: spec(301) }));
    expect(await running(301)).toEqual(expect.arrayContaining(ids));
  });

  it('a removed stack leaves no key', async () => {
    await control.removeStack({ name: 'shop' });
    await eventually(async () => expect((await control.listStacks({})).stacks).toEqual([]));
    expect(await cluster.keys()).toEqual([]);
  });

  it('stops in time when told to', async () => {
    expect(await cluster.kill('s1', 'SIGTERM')).toBe(0);
    expect(await cluster.kill('s2', 'SIGTERM')).toBe(0);
  });
});
