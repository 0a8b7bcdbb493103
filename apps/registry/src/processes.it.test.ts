import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ChangeEvent } from '@berth/changes';
import { decodeChangeEvent } from '@berth/changes';
import { helloOf, rpc } from '@berth/contracts';
import type { ConnectRequest, ConnectResponse, JoinResponse } from '@berth/contracts/registry';
import { Node, NodeStatus } from '@berth/contracts/registry';
import type { Change, ControlServiceImplementation, WatchResponse } from '@berth/contracts/scheduler';
import { Stack, TaskView } from '@berth/contracts/scheduler';
import { DesiredState, NetworkSpec } from '@berth/contracts/workload';
import { Membership } from '@berth/discovery';
import { connectNats } from '@berth/events-nats';
import type { AuthorityMaterial } from '@berth/identity';
import {
  caDigest,
  createAuthority,
  createCsr,
  createKey,
  hashTokenSecret,
  newTokenSecret,
  readCertificate,
  signIdentity,
  signSubject,
} from '@berth/identity';
import type { CallerContext, Identity } from '@berth/kernel';
import { AsyncQueue, parseIdentity } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import type { ClosableDialer, RpcServer } from '@berth/rpc';
import { bind, createDialer, dialPinned, memoryTls, startServer } from '@berth/rpc';
import { connectEtcd } from '@berth/store-etcd';
import type { EtcdServer, NatsServer } from '@berth/testing-hosts';
import { freePort, recordFigures, startEtcd, startNats } from '@berth/testing-hosts';
import { natsUsersConf } from '@berth/workload';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const clock = new SystemClock();
const rng = new SystemRng();
const logger = silentLogger;
const clusterId = 'c1';
const hello = helloOf(clusterId, 'test');
const end = new AbortController();

/** The two processes under test, real; etcd, real; scheduler, signer and an agent, played over real mTLS. */
class Cluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-registry-'));
  readonly secret = newTokenSecret(rng);
  readonly scheduler = new PlayedScheduler();
  readonly #processes = new Map<string, ChildProcess>();
  readonly #ports = new Map<string, number>();
  readonly #closing: (() => Promise<void> | void)[] = [];
  readonly logs: string[] = [];
  ca!: AuthorityMaterial;
  etcdCa!: AuthorityMaterial;
  etcd!: EtcdServer;
  nats!: NatsServer;

  port(name: string): number {
    return this.#ports.get(name) ?? 0;
  }

  address(name: string): string {
    return `127.0.0.1:${this.port(name)}`;
  }

  async start(): Promise<void> {
    for (const name of ['grpc', 'join', 'http', 'nm', 'nm-http', 'signer', 'scheduler', 'agent']) {
      this.#ports.set(name, await freePort());
    }
    this.ca = await createAuthority({ commonName: 'Berth', nowMs: Date.now() });
    this.etcdCa = await createAuthority({ commonName: 'etcd', nowMs: Date.now() });
    const server = await this.#etcdFolder('server');
    const [certFile, keyFile, clientCaFile] = ['cert.pem', 'key.pem', 'ca.pem'].map((name) => join(server, name));
    this.etcd = await startEtcd({ tls: { certFile: certFile!, keyFile: keyFile!, clientCaFile: clientCaFile! } });
    const natsFolder = join(this.folder, 'nats');
    writeFolder(natsFolder, await certificate(this.ca, { role: 'service', name: 'nats' }));
    const natsFile = (name: string): string => join(natsFolder, name);
    const users = natsUsersConf([
      { role: 'service', name: 'registry' },
      { role: 'service', name: 'network-manager' },
      { role: 'subscriber', name: 'ci' },
    ]);
    this.nats = await startNats({
      tls: {
        certFile: natsFile('cert.pem'),
        keyFile: natsFile('key.pem'),
        clientCaFile: natsFile('ca.pem'),
        verifyAndMap: true,
      },
      config: users,
    });
    await this.#bootstrap();
    await this.#play('scheduler', [bind(rpc.control, this.scheduler.handler())]);
    await this.#play('signer', [
      bind(rpc.signing, {
        sign: async ({ csr, identity, addresses }) => ({
          certificatePem: await signIdentity(this.ca, {
            csr,
            identity: parseIdentity(identity),
            addresses,
            nowMs: Date.now(),
          }),
          caPem: this.ca.certPem,
        }),
        advanceCa: async () => ({ step: 0, stepAgeMs: 0, caPem: this.ca.certPem }),
      }),
    ]);
    await this.startRegistry();
    await this.#process('network-manager', {
      ...(await this.#common('network-manager')),
      GRPC_PORT: this.port('nm'),
      HTTP_PORT: this.port('nm-http'),
      REGISTRY_ADDRESSES: this.address('grpc'),
    });
    const dialer = await this.dialer({ role: 'service', name: 'scheduler' });
    const member = { identity: '', instance: 'i1', address: this.address('scheduler'), hostname: 'h', version: '1' };
    void new Membership({
      client: dialer.client(rpc.presence, this.registry),
      clusterId,
      member,
      clock,
      rng,
      log: logger,
    }).run(end.signal);
  }

  readonly registry = {
    identity: { role: 'service', name: 'registry' },
    addresses: () => [this.address('grpc')],
  } as const;

  readonly networkManager = {
    identity: { role: 'service', name: 'network-manager' },
    addresses: () => [this.address('nm')],
  } as const;

  async startRegistry(): Promise<void> {
    const common = await this.#common('registry');
    await this.#process('registry', {
      ...common,
      GRPC_PORT: this.port('grpc'),
      JOIN_PORT: this.port('join'),
      HTTP_PORT: this.port('http'),
      SIGNER_ADDRESSES: this.address('signer'),
    });
  }

  async kill(name: string, signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#processes.get(name);
    if (!child || child.exitCode !== null) return null;
    child.kill(signal);
    await once(child, 'exit');
    return child.exitCode;
  }

  async dialer(identity: Identity): Promise<ClosableDialer> {
    const tls = memoryTls(await certificate(this.ca, identity));
    const dialer = createDialer({ tls, clock, rng, logger });
    this.#closing.push(() => dialer.close());
    return dialer;
  }

  /** Events of all owners, as an outside subscriber hears them. */
  async subscribe(): Promise<ChangeEvent[]> {
    const tls = await certificate(this.ca, { role: 'subscriber', name: 'ci' });
    const bus = connectNats({
      servers: () => [new URL(this.nats.url).host],
      tls: () => tls,
      serverName: 'nats.service.berth',
      clock,
      rng,
      logger,
    });
    this.#closing.push(() => bus.close());
    await eventually(() => expect(bus.connected).toBe(true));
    const events: ChangeEvent[] = [];
    const listen = async (): Promise<void> => {
      const messages = bus.subscribe('berth.*.changes.>', { signal: end.signal });
      for await (const { data } of messages) events.push(decodeChangeEvent(data));
    };
    void listen();
    return events;
  }

  async ready(): Promise<void> {
    for (const name of ['http', 'nm-http']) {
      await eventually(async () => {
        const answer = await fetch(`http://${this.address(name)}/readyz`).catch((error: unknown) => String(error));
        if (typeof answer === 'string' || answer.status !== 200) {
          throw new Error(
            `${name}: ${typeof answer === 'string' ? answer : await answer.text()}\n${this.logs.slice(-20).join('')}`,
          );
        }
      });
    }
  }

  async stop(): Promise<void> {
    end.abort();
    for (const name of this.#processes.keys()) await this.kill(name, 'SIGKILL');
    for (const close of this.#closing.reverse()) await close();
    await this.etcd.stop();
    await this.nats.stop();
    rmSync(this.folder, { recursive: true });
  }

  async #common(name: string): Promise<Record<string, string | number>> {
    const certs = join(this.folder, name);
    writeFolder(certs, await certificate(this.ca, { role: 'service', name }));
    const etcdCerts = await this.#etcdFolder(name);
    return {
      ADVERTISE: '127.0.0.1',
      CERTS: certs,
      ETCD_ENDPOINTS: this.etcd.endpoint,
      ETCD_CERTS: etcdCerts,
      NATS_URLS: this.nats.url,
    };
  }

  async #etcdFolder(user: string): Promise<string> {
    const path = join(this.folder, `etcd-${user}`);
    const key = await createKey();
    const names = { commonName: user, dnsNames: ['localhost'], addresses: ['127.0.0.1'] };
    const cert = await signSubject(this.etcdCa, { csr: await createCsr(key), ...names, nowMs: Date.now() });
    writeFolder(path, { cert, key, ca: this.etcdCa.certPem });
    return path;
  }

  async #bootstrap(): Promise<void> {
    const main = join(import.meta.dirname, '../../bootstrap/src/main.ts');
    const root = await this.#etcdFolder('root');
    const args = ['--etcd-endpoints', this.etcd.endpoint, '--etcd-certs', root, '--cluster-id', clusterId];
    await promisify(execFile)(process.execPath, [main, ...args, '--token-sha256', hashTokenSecret(this.secret)]);
  }

  async #play(name: string, services: Parameters<typeof startServer>[0]['services']): Promise<void> {
    const tls = memoryTls(await certificate(this.ca, { role: 'service', name }));
    const server: RpcServer = await startServer({
      address: this.address(name),
      access: { kind: 'mtls', tls },
      services,
      logger,
    });
    this.#closing.push(() => server.stop(100));
  }

  async #process(name: string, settings: Readonly<Record<string, string | number>>): Promise<void> {
    const env = Object.fromEntries(Object.entries(settings).map(([key, value]) => [`BERTH_${key}`, String(value)]));
    const main = join(import.meta.dirname, `../../${name}/src/main.ts`);
    const child = spawn(process.execPath, [main], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => this.logs.push(String(chunk)));
    this.#processes.set(name, child);
  }
}

/** The scheduler's Watch alone: stacks and tasks as the test says. */
class PlayedScheduler {
  readonly changes: Change[] = [];
  readonly #wake = new Set<() => void>();

  /** nice-grpc wants every method; only Watch is called. */
  handler(): ControlServiceImplementation<CallerContext> {
    const watch = this.watch.bind(this);
    const none = async (): Promise<never> => {
      throw new Error('not played');
    };
    return new Proxy({} as ControlServiceImplementation<CallerContext>, {
      get: (_target, name) => (name === 'watch' ? watch : none),
      has: () => true,
    });
  }

  put(change: Change): void {
    this.changes.push(change);
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }

  async *watch(_request: unknown, { signal }: { signal: AbortSignal }): AsyncGenerator<WatchResponse> {
    let sent = -1;
    while (!signal.aborted) {
      if (sent < this.changes.length) {
        sent = this.changes.length;
        yield {
          revision: { epoch: await epoch(), revision: sent + 1 },
          reset: true,
          more: false,
          changes: this.changes,
        };
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }
}

/** An agent's presence: beats until it is ended, and connects again when the registry was away. */
class PlayedAgent {
  readonly responses: ConnectResponse[] = [];
  readonly #end = new AbortController();

  constructor(dialer: ClosableDialer, node: Node) {
    void this.#run(dialer, node);
  }

  end(): void {
    this.#end.abort();
  }

  async #run(dialer: ClosableDialer, node: Node): Promise<void> {
    while (!this.#end.signal.aborted) {
      const requests = new AsyncQueue<ConnectRequest>();
      requests.push({ step: { $case: 'hello', value: { hello, node } } });
      const beat = setInterval(
        () => requests.push({ step: { $case: 'heartbeat', value: { dispatchSynced: true, restarting: false } } }),
        500,
      );
      try {
        const client = dialer.client(rpc.presence, cluster.registry);
        for await (const response of client.connect(requests, { signal: this.#end.signal }))
          this.responses.push(response);
      } catch {
        await clock.sleep(200, this.#end.signal);
      } finally {
        clearInterval(beat);
      }
    }
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

async function eventually<T>(check: () => Promise<T> | T, withinMs = 20_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await clock.sleep(100);
    }
  }
}

const cluster = new Cluster();
let operator: ClosableDialer;
let epochText = '';
async function epoch(): Promise<string> {
  if (epochText === '') {
    const root = join(cluster.folder, 'etcd-root');
    const read = (name: string) => readFileSync(join(root, name));
    const tls = { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') };
    const store = connectEtcd({ endpoints: [cluster.etcd.endpoint], tls, clock, rng, logger });
    epochText = await store.epoch();
    store.close();
  }
  return epochText;
}

beforeAll(async () => {
  await cluster.start();
  operator = await cluster.dialer({ role: 'operator', name: 'admin' });
});
afterAll(() => cluster.stop());

describe('registry and network-manager as processes', () => {
  const description = () =>
    Node.fromPartial({ hostname: 'h1', address: '127.0.0.1', agentPort: cluster.port('agent'), manager: true });
  const catalog = () => operator.client(rpc.catalog, cluster.registry);
  const listed = async () => (await catalog().listMembers({})).members.map(({ identity }) => identity);
  let joined: JoinResponse;
  let nodeKey = '';
  let agent: PlayedAgent;
  let nodeDialer: ClosableDialer;

  it('become ready when scheduler and store are there', async () => {
    await cluster.ready();
    expect(await listed()).toEqual([
      'service:nats',
      'service:network-manager',
      'service:registry',
      'service:scheduler',
    ]);
  });

  it('let a host join by token over the pinned port, and the same key again as the same node', async () => {
    const { dialer } = await dialPinned({
      addresses: [cluster.address('join')],
      identity: cluster.registry.identity,
      caDigest: caDigest(cluster.ca.certPem),
      clock,
      rng,
      logger,
    });
    const key = await createKey();
    nodeKey = key;
    const csr = Buffer.from(await createCsr(key));
    const client = dialer.client(rpc.join, {
      identity: cluster.registry.identity,
      addresses: () => [cluster.address('join')],
    });
    const request = { tokenSecret: cluster.secret, csr, node: description(), hello };
    joined = await client.join(request);
    expect(joined).toMatchObject({ clusterId, caPem: cluster.ca.certPem });
    expect((await client.join(request)).nodeId).toBe(joined.nodeId);
    await expect(client.join({ ...request, tokenSecret: 'x' })).rejects.toMatchObject({ reason: 'BAD_TOKEN' });
    dialer.close();
    nodeDialer = createDialer({
      tls: memoryTls({ cert: joined.certificatePem, key, ca: joined.caPem }),
      clock,
      rng,
      logger,
    });
    agent = new PlayedAgent(nodeDialer, description());
    await eventually(async () => {
      const { nodes } = await catalog().listNodes({});
      expect(nodes).toMatchObject([{ id: joined.nodeId, status: NodeStatus.NODE_STATUS_READY, dispatchSynced: true }]);
    });
  });

  it('a stack gets its network, the node its block, the task its endpoint', async () => {
    const events = await cluster.subscribe();
    const spec = NetworkSpec.fromPartial({ name: 'default' });
    const stack = Stack.fromPartial({ id: 's1', name: 'shop', namespace: 'default', networks: [spec] });
    cluster.scheduler.put({ scopes: ['stack.s1'], key: 'stack/s1', resource: { $case: 'stack', value: stack } });
    const network = nodeDialer.client(rpc.network, cluster.networkManager);
    const lease = await eventually(() => network.leaseBlock({ stackId: 's1', network: 'default' }));
    expect(lease.network?.ranges).toEqual(['10.64.0.0/22']);
    const networkId = lease.lease?.networkId ?? '';
    const block = lease.lease?.block ?? '';
    const addressOf = (host: number): string =>
      block.replace(/\d+\/\d+$/u, (last) => `${Number.parseInt(last, 10) + host}`);
    const own = { stackId: 's1', service: 'web' };
    const networks = { attachments: [{ network: 'default', aliases: ['www'] }] };
    const taskOf = (id: string, slot: number): TaskView =>
      TaskView.fromPartial({
        task: { id, nodeId: joined.nodeId, desired: DesiredState.DESIRED_STATE_RUNNING, ...own, slot, networks },
      });
    const task = taskOf('t1', 1);
    const presence = nodeDialer.client(rpc.presence, cluster.registry);
    const endpointOf = (taskId: string, slot: number, ip: string, names: string[]) => ({
      ...own,
      taskId,
      networkId,
      ip,
      names,
      taskName: `web.${slot}`,
      healthy: true,
    });
    const endpoint = endpointOf('t1', 1, addressOf(2), ['web', 'www']);
    await presence.announceEndpoints({ full: true, endpoints: [endpoint], session: 1, sequence: 1 });
    const served = async () => (await catalog().changes({ scope: `network.${networkId}` })).changes.length;
    expect(await served()).toBe(0);
    cluster.scheduler.put({ scopes: ['stack.s1'], key: 'task/t1', resource: { $case: 'task', value: task } });
    await eventually(async () => expect(await served()).toBe(1));
    await eventually(() => {
      const told = events.filter(({ scope }) => scope === `network.${networkId}`);
      expect(told.map(({ owner, changes }) => [owner, changes.length])).toEqual([
        ['network', 1],
        ['network', 1],
        ['registry', 1],
      ]);
    });

    // A node that lies: another service's name, an address that is not its own.
    const lies = [endpointOf('t2', 2, addressOf(3), ['db']), endpointOf('t3', 3, '10.99.0.1', ['web'])];
    for (const [i, { taskId }] of lies.entries()) {
      const value = taskOf(taskId, i + 2);
      cluster.scheduler.put({ scopes: ['stack.s1'], key: `task/${taskId}`, resource: { $case: 'task', value } });
    }
    const honest = endpointOf('t4', 4, addressOf(4), ['web']);
    cluster.scheduler.put({
      scopes: ['stack.s1'],
      key: 'task/t4',
      resource: { $case: 'task', value: taskOf('t4', 4) },
    });
    await presence.announceEndpoints({ full: false, endpoints: [...lies, honest], session: 1, sequence: 2 });
    await eventually(async () => expect(await served()).toBe(2));
    await clock.sleep(500);
    expect(await served()).toBe(2);
    await presence.announceEndpoints({ full: true, endpoints: [endpoint], session: 1, sequence: 3 });
    const late = presence.announceEndpoints({ full: true, endpoints: [], session: 1, sequence: 2 });
    await expect(late).rejects.toMatchObject({ reason: 'STALE_ANNOUNCEMENT', details: { session: '1' } });
    expect(await served()).toBe(1);
  });

  it('a killed registry loses neither node nor endpoint nor member', async () => {
    const statuses = new Set<NodeStatus>();
    await cluster.kill('registry', 'SIGKILL');
    await clock.sleep(1_000);
    await cluster.startRegistry();
    const untilMs = performance.now() + 12_000;
    await eventually(async () => catalog().listNodes({}));
    while (performance.now() < untilMs) {
      const { nodes } = await catalog().listNodes({});
      for (const { status } of nodes) statuses.add(status);
      await clock.sleep(250);
    }
    expect(statuses).not.toContain(NodeStatus.NODE_STATUS_LOST);
    await eventually(async () => {
      const { nodes } = await catalog().listNodes({});
      expect(nodes).toMatchObject([{ id: joined.nodeId, status: NodeStatus.NODE_STATUS_READY }]);
      expect(await listed()).toEqual([
        `node:${joined.nodeId}`,
        'service:nats',
        'service:network-manager',
        'service:registry',
        'service:scheduler',
      ]);
    });
    await cluster.ready();
  });

  it('a killed etcd is lived through', async () => {
    await cluster.etcd.kill();
    await clock.sleep(2_000);
    await cluster.etcd.restart();
    await eventually(async () => {
      const people = operator.client(rpc.certificate, cluster.registry);
      const csr = Buffer.from(await createCsr(await createKey()));
      const { certificatePem } = await people.issueCertificate(
        { csr, role: 'reader', name: 'ci' },
        { timeoutMs: 2_000 },
      );
      expect(certificatePem).toContain('CERTIFICATE');
    });
    const network = nodeDialer.client(rpc.network, cluster.networkManager);
    await eventually(() => network.leaseBlock({ stackId: 's1', network: 'default' }));
    await eventually(async () => {
      const { nodes } = await catalog().listNodes({});
      expect(nodes).toMatchObject([{ id: joined.nodeId, status: NodeStatus.NODE_STATUS_READY }]);
    });
  });

  it('shut out who was revoked: streams at once, at each service; and nobody else', async ({ task }) => {
    const ann = await cluster.dialer({ role: 'operator', name: 'ann' });
    const bob = await cluster.dialer({ role: 'operator', name: 'bob' });
    const streams = (dialer: ClosableDialer): AsyncIterator<unknown>[] => [
      dialer
        .client(rpc.catalog, cluster.registry)
        .watch({ hello, scopes: ['none'] })
        [Symbol.asyncIterator](),
      dialer
        .client(rpc.network, cluster.networkManager)
        .watch({ hello, scopes: ['none'] })
        [Symbol.asyncIterator](),
    ];
    const [anns, bobs] = [streams(ann), streams(bob)];
    await Promise.all([...anns, ...bobs].map((stream) => stream.next()));
    const startMs = performance.now();
    const holder = { $case: 'identity', value: 'operator:ann' } as const;
    await operator.client(rpc.certificate, cluster.registry).revokeCertificate({ holder });
    /** Reads a stream to its end, through what mirrors are told once a second. */
    const endOf = async (stream: AsyncIterator<unknown>): Promise<unknown> => {
      try {
        while (!(await stream.next()).done);
        return 'ended';
      } catch (error) {
        return error;
      }
    };
    for (const error of await Promise.all(anns.map(endOf))) {
      expect(error).toMatchObject({ code: 'PermissionDenied', reason: 'REVOKED' });
    }
    const endedMs = performance.now() - startMs;
    expect(endedMs).toBeLessThan(2_000);
    recordFigures(task, { revokedStreamsEndMs: Math.round(endedMs) });
    const refused = ann.client(rpc.network, cluster.networkManager).listNetworks({});
    await expect(refused).rejects.toMatchObject({ reason: 'REVOKED' });
    await bob.client(rpc.network, cluster.networkManager).listNetworks({});
    for (const dialer of [ann, bob]) dialer.close();
    for (const stream of bobs) await stream.return?.();
  });

  it('give a node whose certificate has ended a new one, by its key and a token', async () => {
    const { dialer } = await dialPinned({
      addresses: [cluster.address('join')],
      identity: cluster.registry.identity,
      caDigest: caDigest(cluster.ca.certPem),
      clock,
      rng,
      logger,
    });
    const target = { identity: cluster.registry.identity, addresses: () => [cluster.address('join')] };
    const client = dialer.client(rpc.join, target);
    const { nodeId } = joined;
    const asked = { tokenSecret: cluster.secret, nodeId, hello };
    const { certificatePem } = await client.rejoin({ ...asked, csr: await createCsr(nodeKey) });
    expect(readCertificate(certificatePem).commonName).toBe(`node:${nodeId}`);
    const foreign = client.rejoin({ ...asked, csr: await createCsr(await createKey()) });
    await expect(foreign).rejects.toMatchObject({ reason: 'FOREIGN_KEY' });
    dialer.close();
  });

  it('stop when they are told to, with 0', async () => {
    agent.end();
    expect(await cluster.kill('registry', 'SIGTERM')).toBe(0);
    expect(await cluster.kill('network-manager', 'SIGTERM')).toBe(0);
  });
});
