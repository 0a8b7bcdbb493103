import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { rpc } from '@berth/contracts';
import type { SetupServiceImplementation } from '@berth/contracts/agent';
import type { CertificateServiceImplementation, JoinServiceImplementation } from '@berth/contracts/registry';
import { caDigest, readCertificate } from '@berth/identity';
import type { CallerContext, Identity, RpcService } from '@berth/kernel';
import { BerthError, bind, formatIdentity } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import { rpcContract } from '@berth/testing-suites';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Admission } from './admission.ts';
import type { ClosableDialer } from './dialer.ts';
import { createDialer } from './dialer.ts';
import type { HealthCheckRequest, HealthCheckResponse } from './health.ts';
import { healthDefinition } from './health.ts';
import { dialPinned } from './pinned.ts';
import type { RpcServer, ServerOptions } from './server.ts';
import { startServer } from './server.ts';
import { TestCluster } from './test-certificates.ts';
import type { TlsMaterial } from './tls.ts';
import { fileTls, memoryTls } from './tls.ts';

const clock = new SystemClock();
const rng = new SystemRng();
const logger = silentLogger;
const registry: Identity = { role: 'service', name: 'registry' };
const operator: Identity = { role: 'operator', name: 'admin' };
const node: Identity = { role: 'node', id: 'n1' };

let cluster: TestCluster;
let registryTls: TlsMaterial;
let operatorTls: TlsMaterial;
beforeAll(async () => {
  cluster = await TestCluster.create();
  registryTls = await cluster.certificate(registry);
  operatorTls = await cluster.certificate(operator);
});

rpcContract('mTLS', async () => {
  const ends: (() => void | Promise<void>)[] = [];
  const certificates = new Map<string, TlsMaterial>();
  const certificateOf = async (identity: Identity): Promise<TlsMaterial> => {
    const name = formatIdentity(identity);
    const known = certificates.get(name) ?? (await cluster.certificate(identity));
    certificates.set(name, known);
    return known;
  };
  const names = ['registry', 'scheduler'].map((name) => ({ role: 'service', name }) as const);
  const users = (['operator', 'reader', 'subscriber'] as const).map((role) => ({ role, name: role[0] ?? '' }));
  for (const identity of [...names, ...users, operator, node]) await certificateOf(identity);
  return {
    serve: async (identity, services) => {
      const access = { kind: 'mtls', tls: memoryTls(await certificateOf(identity)) } as const;
      const server = await startServer({ address: '127.0.0.1:0', access, services, logger });
      ends.push(() => server.stop(0));
      return { address: `127.0.0.1:${server.port}`, kill: () => server.stop(0) };
    },
    dialer: (identity) => {
      const tls = certificates.get(formatIdentity(identity));
      const dialer = createDialer({ ...(tls && { tls: memoryTls(tls) }), clock, rng, logger });
      ends.push(() => dialer.close());
      return dialer;
    },
    run: (promise) => promise,
    close: async () => {
      for (const end of ends.reverse()) await end();
    },
  };
});

const handler = {
  listCertificates: async (_request: unknown, { caller }: CallerContext) => ({
    certificates: [{ identity: formatIdentity(caller) }],
  }),
  renewCertificate: async (_request: unknown, { caller }: CallerContext) => ({
    certificatePem: formatIdentity(caller),
  }),
  issueCertificate: async () => ({}),
  revokeCertificate: async () => ({}),
  rotateCa: async () => ({}),
  createToken: async () => ({}),
  rotateToken: async () => {
    await clock.sleep(300);
    return { token: 'done' };
  },
} as unknown as CertificateServiceImplementation<CallerContext>;

describe('an mTLS server', () => {
  let server: RpcServer;
  const ends: (() => void | Promise<void>)[] = [];
  const serverTls = (): ReturnType<typeof memoryTls> => memoryTls(registryTls);
  let serverSource: ReturnType<typeof memoryTls>;

  beforeEach(async () => {
    serverSource = serverTls();
    server = await start({ access: { kind: 'mtls', tls: serverSource } });
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function start(options: Partial<ServerOptions> & Pick<ServerOptions, 'access'>): Promise<RpcServer> {
    const services = [bind(rpc.certificate, handler)];
    const started = await startServer({ address: '127.0.0.1:0', services, logger, ...options });
    ends.push(() => started.stop(0));
    return started;
  }
  const dialerWith = (tls: TlsMaterial): ClosableDialer => {
    const dialer = createDialer({ tls: memoryTls(tls), clock, rng, logger });
    ends.push(() => dialer.close());
    return dialer;
  };
  const target = (port = server.port) => ({ identity: registry, addresses: () => [`127.0.0.1:${port}`] });
  const list = (dialer: ClosableDialer) =>
    dialer.client(rpc.certificate, target()).listCertificates({}, { timeoutMs: 3_000 });

  it.each([
    ['of another CA', async () => (await TestCluster.create()).certificate(operator)],
    [
      'that trusts it, with a certificate of another CA',
      async () => ({ ...(await (await TestCluster.create()).certificate(operator)), ca: cluster.authority.certPem }),
    ],
    [
      'whose certificate has expired',
      () => cluster.certificate(operator, { nowMs: Date.now() - 86_400_000, lifetimeMs: 3_600_000 }),
    ],
  ])('is not reached by a client %s', async (_what, material) => {
    const error = await list(dialerWith(await material())).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'Unauthenticated', reason: 'TLS_REFUSED' });
  });

  it('ends the handshake of a client without a certificate', async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = connectTls({
        port: server.port,
        host: '127.0.0.1',
        ca: cluster.authority.certPem,
        servername: 'registry.service.berth',
        ALPNProtocols: ['h2'],
      });
      socket.on('error', (error) => resolve(String(error)));
      socket.on('close', () => resolve('closed'));
    });
    expect(answer).toMatch(/certificate required|closed|ECONNRESET/u);
  });

  it('throws away an identity that a client claims in its metadata', async () => {
    const tls = await cluster.certificate(node);
    const session = connectHttp2(`https://127.0.0.1:${server.port}`, { ...tls, servername: 'registry.service.berth' });
    const request = session.request({
      ':method': 'POST',
      ':path': '/berth.registry.v1.CertificateService/ListCertificates',
      'content-type': 'application/grpc',
      te: 'trailers',
      'x-berth-caller': 'operator:admin',
    });
    request.end(Buffer.alloc(5));
    const status = await new Promise((resolve) => {
      request.on('response', (headers) => headers['grpc-status'] !== undefined && resolve(headers['grpc-status']));
      request.on('trailers', (headers) => resolve(headers['grpc-status']));
    });
    session.destroy();
    expect(status).toBe('7');
  });

  describe('with an admission', () => {
    const nothing = async () => ({});
    const catalog = { listNodes: nothing, listMembers: nothing, changes: nothing, compareHeads: nothing };
    const listeners = new Set<() => void>();
    const refused = new Set<string>();
    const keys: string[] = [];
    const admission: Admission = {
      refusal: (caller, keySha256) => {
        keys.push(keySha256);
        if (!refused.has(formatIdentity(caller))) return undefined;
        return new BerthError('PermissionDenied', 'shut out', { reason: 'REVOKED' });
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
    const change = (name: string): void => {
      refused.add(name);
      for (const listener of listeners) listener();
    };
    afterEach(() => {
      refused.clear();
      keys.length = 0;
    });

    it('refuses the next call at once, ends streams and unary calls under way, and leaves others alone', async () => {
      const ended: string[] = [];
      const services = [
        bind(rpc.certificate, {
          ...handler,
          rotateToken: async (_request: unknown, { signal }: { signal: AbortSignal }) => {
            await clock.sleep(10_000, signal);
            return {};
          },
        } as typeof handler),
        bind(rpc.catalog, {
          ...catalog,
          watch: async function* (_request: unknown, { caller, signal }: CallerContext & { signal: AbortSignal }) {
            yield {};
            await clock.sleep(10_000, signal);
            ended.push(formatIdentity(caller));
          },
        } as never),
      ];
      const gated = await start({ access: { kind: 'mtls', tls: serverTls() }, services, admission });
      const bob: Identity = { role: 'operator', name: 'bob' };
      const dialers = [dialerWith(operatorTls), dialerWith(await cluster.certificate(bob))];
      const watch = (dialer: ClosableDialer) => {
        const until = new AbortController();
        ends.push(() => until.abort());
        const responses = dialer.client(rpc.catalog, target(gated.port)).watch({}, { signal: until.signal });
        return responses[Symbol.asyncIterator]();
      };
      const [anns, bobs] = dialers.map(watch);
      await Promise.all([anns?.next(), bobs?.next()]);
      const clients = dialers.map((dialer) => dialer.client(rpc.certificate, target(gated.port)));
      const unary = clients[0]?.rotateToken({}).catch((e: unknown) => e);
      await clock.sleep(100);
      const shutOut = performance.now();
      change('operator:admin');
      const shut = { code: 'PermissionDenied', reason: 'REVOKED' };
      expect(await clients[0]?.listCertificates({}).catch((e: unknown) => e)).toMatchObject(shut);
      expect(await anns?.next().catch((e: unknown) => e)).toMatchObject(shut);
      expect(await unary).toMatchObject(shut);
      expect(performance.now() - shutOut).toBeLessThan(2_000);
      expect(ended).toEqual(['operator:admin']);
      expect(await clients[1]?.listCertificates({})).toMatchObject({ certificates: [{ identity: 'operator:bob' }] });
    });

    it('lets a handler that knows of it by itself say goodbye', async () => {
      const goodbye = {
        ...catalog,
        watch: async function* () {
          yield { more: true };
          await clock.sleep(100);
          yield { reset: true };
        },
      };
      const services = [bind(rpc.catalog, goodbye as never)];
      const gated = await start({ access: { kind: 'mtls', tls: serverTls() }, services, admission });
      const got = [];
      for await (const answer of dialerWith(operatorTls).client(rpc.catalog, target(gated.port)).watch({})) {
        if (answer.more) change('operator:admin');
        got.push(answer.reset);
      }
      expect(got).toEqual([false, true]);
    });

    it('tells by which key the caller speaks, whatever it claims', async () => {
      const gated = await start({ access: { kind: 'mtls', tls: serverTls() }, admission });
      const client = dialerWith(operatorTls).client(rpc.certificate, target(gated.port));
      await client.listCertificates({});
      await client.listCertificates({});
      expect(new Set(keys)).toEqual(new Set([readCertificate(operatorTls.cert).publicKeySha256]));
    });
  });

  it('denies a method whose proto has no rule', async () => {
    const definition = rpc.certificate.definition as { methods: object };
    const unruled = { name: 'x', definition: { ...definition, methods: { listCertificates: withoutRule() } }, handler };
    const other = await start({ access: { kind: 'mtls', tls: serverTls() }, services: [unruled] });
    const client = dialerWith(operatorTls).client(rpc.certificate, target(other.port));
    const error = await client.listCertificates({}).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'PermissionDenied', details: { allow: '' } });
  });

  it('denies a certificate whose name is no identity', async () => {
    const { createKey, createCsr, signSubject } = await import('@berth/identity');
    for (const commonName of ['local-root', 'anyone', 'root', '']) {
      const key = await createKey();
      const csr = await createCsr(key);
      const cert = await signSubject(cluster.authority, { csr, commonName, dnsNames: ['x.berth'], nowMs: Date.now() });
      const error = await list(dialerWith({ cert, key, ca: cluster.authority.certPem })).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: 'Unauthenticated', reason: 'NO_IDENTITY' });
    }
  });

  it('says that it does not know a service', async () => {
    const client = dialerWith(operatorTls).client(rpc.catalog, target());
    const error = await client.listNodes({}).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'FailedPrecondition', reason: 'UNIMPLEMENTED' });
  });

  it('serves a renewed certificate to new connections and leaves open ones alone', async () => {
    const before = dialerWith(operatorTls);
    await list(before);
    const expired = await cluster.certificate(registry, { nowMs: Date.now() - 86_400_000, lifetimeMs: 3_600_000 });
    serverSource.replace(expired);
    expect(await list(before)).toBeDefined();
    expect(await list(dialerWith(operatorTls)).catch((e: unknown) => e)).toMatchObject({ reason: 'TLS_REFUSED' });
    serverSource.replace(await cluster.certificate(registry));
    expect(await list(dialerWith(operatorTls))).toBeDefined();
  });

  it('knows a client by its renewed certificate from the next call on', async () => {
    const source = memoryTls(await cluster.certificate(node));
    const dialer = createDialer({ tls: source, clock, rng, logger });
    ends.push(() => dialer.close());
    const client = dialer.client(rpc.certificate, target());
    expect(await client.renewCertificate({})).toMatchObject({ certificatePem: 'node:n1' });
    source.replace(operatorTls);
    expect(await client.renewCertificate({})).toMatchObject({ certificatePem: 'operator:admin' });
  });

  it('lets a unary call end when it stops, and cuts it after the grace', async () => {
    const client = dialerWith(operatorTls).client(rpc.certificate, target());
    await client.listCertificates({});
    const call = client.rotateToken({});
    await clock.sleep(100);
    const stopped = server.stop(2_000);
    expect(await call).toMatchObject({ token: 'done' });
    await stopped;
    server = await start({ access: { kind: 'mtls', tls: serverTls() } });
    const again = dialerWith(operatorTls).client(rpc.certificate, target());
    await again.listCertificates({});
    const cut = again.rotateToken({}).catch((e: unknown) => e);
    await clock.sleep(100);
    await server.stop(10);
    expect(await cut).toMatchObject({ code: 'Unavailable' });
  });

  it('answers health checks of anybody with a certificate, for itself and each service', async () => {
    interface Health {
      check(request: Partial<HealthCheckRequest>): Promise<HealthCheckResponse>;
    }
    let ready = true;
    const other = await start({ access: { kind: 'mtls', tls: serverTls() }, ready: () => ready });
    const health: RpcService<Health, unknown> = { name: healthDefinition.fullName, definition: healthDefinition };
    const client = dialerWith(await cluster.certificate(node)).client(health, target(other.port));
    expect(await client.check({})).toEqual({ status: 1 });
    ready = false;
    expect(await client.check({ service: 'berth.registry.v1.CertificateService' })).toEqual({ status: 2 });
    expect(await client.check({ service: 'x' }).catch((e: unknown) => e)).toMatchObject({ code: 'NotFound' });
  });

  it('refuses a message that is too large', async () => {
    const client = dialerWith(operatorTls).client(rpc.certificate, target());
    const error = await client.renewCertificate({ csr: Buffer.alloc(17 * 1024 * 1024) }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'Exhausted' });
  });

  it('says so when its address is taken', async () => {
    const address = `127.0.0.1:${server.port}`;
    const error = await start({ address, access: { kind: 'mtls', tls: serverTls() } }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'Unavailable', reason: 'ADDRESS_IN_USE' });
  });
});

function withoutRule() {
  const { methods } = rpc.certificate.definition as { methods: Record<string, { options: object }> };
  return { ...methods['listCertificates'], options: {} };
}

describe('the join port', () => {
  const joinHandler = {
    join: async (_request: unknown, { caller }: CallerContext) => ({ nodeId: formatIdentity(caller) }),
    rejoin: async () => ({}),
  } as unknown as JoinServiceImplementation<CallerContext>;
  const pinned = (port: number, digest: Uint8Array) =>
    dialPinned({
      addresses: ['127.0.0.1:1', `127.0.0.1:${port}`],
      identity: registry,
      caDigest: digest,
      clock,
      rng,
      logger,
    });

  it('is reached by a host that knows only the digest of the CA, and serves nothing else', async () => {
    const services = [bind(rpc.join, joinHandler), bind(rpc.certificate, handler)];
    const access = { kind: 'join', tls: memoryTls(registryTls) } as const;
    const server = await startServer({ address: '127.0.0.1:0', access, services, logger });
    const { dialer, ca } = await pinned(server.port, caDigest(cluster.authority.certPem));
    const target = { identity: registry, addresses: () => [`127.0.0.1:${server.port}`] };
    expect(ca.replaceAll(/\s/gu, '')).toBe(cluster.authority.certPem.replaceAll(/\s/gu, ''));
    expect(await dialer.client(rpc.join, target).join({})).toMatchObject({ nodeId: 'anyone' });
    const denied = await dialer
      .client(rpc.certificate, target)
      .listCertificates({})
      .catch((e: unknown) => e);
    expect(denied).toMatchObject({ code: 'PermissionDenied' });
    const other = await TestCluster.create();
    const wrong = await pinned(server.port, caDigest(other.authority.certPem)).catch((e: unknown) => e);
    expect(wrong).toMatchObject({ code: 'Unauthenticated', reason: 'CA_MISMATCH' });
    dialer.close();
    await server.stop(0);
  });

  it('takes no large message of a stranger', async () => {
    const services = [bind(rpc.join, joinHandler)];
    const access = { kind: 'join', tls: memoryTls(registryTls) } as const;
    const server = await startServer({ address: '127.0.0.1:0', access, services, logger });
    const { dialer } = await pinned(server.port, caDigest(cluster.authority.certPem));
    const client = dialer.client(rpc.join, { identity: registry, addresses: () => [`127.0.0.1:${server.port}`] });
    expect(await client.join({ csr: Buffer.alloc(32 * 1024) })).toMatchObject({ nodeId: 'anyone' });
    const error = await client.join({ csr: Buffer.alloc(128 * 1024) }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'Exhausted' });
    dialer.close();
    await server.stop(0);
  });

  it('does not fall for a server that shows the right CA with a certificate of its own', async () => {
    const impostor = await (await TestCluster.create()).certificate(registry);
    const tls = memoryTls({ ...impostor, ca: cluster.authority.certPem });
    const services = [bind(rpc.join, joinHandler)];
    const server = await startServer({ address: '127.0.0.1:0', access: { kind: 'join', tls }, services, logger });
    const attempt = pinned(server.port, caDigest(cluster.authority.certPem)).then(async ({ dialer }) => {
      const target = { identity: registry, addresses: () => [`127.0.0.1:${server.port}`] };
      return dialer.client(rpc.join, target).join({}, { timeoutMs: 2_000 });
    });
    expect(await attempt.catch((e: unknown) => e)).toMatchObject({ code: 'Unauthenticated' });
    await server.stop(0);
  });
});

describe('a Unix socket', () => {
  it('is for root alone, who is known as local-root, and is gone with its server', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-rpc-'));
    const path = join(folder, 'agent.sock');
    const setup = {
      init: async function* () {},
      issueOperator: async () => ({}),
      status: async (_request: unknown, { caller }: CallerContext) => ({ phase: formatIdentity(caller) }),
    } as unknown as SetupServiceImplementation<CallerContext>;
    // What a crash left behind is in nobody's way.
    writeFileSync(path, '');
    const services = [bind(rpc.setup, setup), bind(rpc.certificate, handler)];
    const server = await startServer({ address: path, access: { kind: 'unix' }, services, logger });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const dialer = createDialer({ clock, rng, logger });
    const target = { identity: { role: 'local-root' }, addresses: () => [`unix:${path}`] } as const;
    expect(await dialer.client(rpc.setup, target).status({})).toMatchObject({ phase: 'local-root' });
    const denied = await dialer
      .client(rpc.certificate, target)
      .listCertificates({})
      .catch((e: unknown) => e);
    expect(denied).toMatchObject({ code: 'PermissionDenied' });
    dialer.close();
    await server.stop(0);
    expect(existsSync(path)).toBe(false);
    rmSync(folder, { recursive: true });
  });
});

describe('certificates in a folder', () => {
  it('are read again when they change; a broken set changes nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-rpc-'));
    const write = (tls: TlsMaterial): void => {
      for (const name of ['cert', 'key', 'ca'] as const) writeFileSync(join(folder, `${name}.pem`), tls[name]);
    };
    expect(() => fileTls(folder, { clock, logger })).toThrow(/no usable certificate/u);
    write(registryTls);
    const source = fileTls(folder, { clock, logger, pollMs: 20 });
    let changes = 0;
    source.onChange(() => {
      changes += 1;
    });
    writeFileSync(join(folder, 'key.pem'), operatorTls.key);
    await clock.sleep(100);
    expect(changes).toBe(0);
    expect(source.current()).toEqual(registryTls);
    write(operatorTls);
    await clock.sleep(100);
    expect(changes).toBe(1);
    expect(source.current()).toEqual(operatorTls);
    source.close();
    rmSync(folder, { recursive: true });
  });
});
