import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { eventSubjects } from '@berth/changes';
import { helloOf } from '@berth/contracts';
import {
  InitRequest,
  ProbeServiceDefinition,
  RuntimeServiceDefinition,
  SetupServiceDefinition,
  SigningServiceDefinition,
} from '@berth/contracts/agent';
import {
  ListLeasesResponse,
  ListNetworksResponse,
  NetworkServiceDefinition,
  ReleaseBlockRequest,
} from '@berth/contracts/network';
import {
  AnnounceEndpointsRequest,
  CatalogServiceDefinition,
  CertificateServiceDefinition,
  IssueCertificateRequest,
  IssueCertificateResponse,
  JoinServiceDefinition,
  NodeServiceDefinition,
  PresenceServiceDefinition,
  RenewCertificateRequest,
  RenewCertificateResponse,
} from '@berth/contracts/registry';
import {
  ControlServiceDefinition,
  DispatchServiceDefinition,
  ReportStaticRequest,
  ReportStatusRequest,
  SessionRequest,
  SessionResponse,
} from '@berth/contracts/scheduler';
import { TaskState } from '@berth/contracts/workload';
import { createCsr, readCertificate } from '@berth/identity';
import { dnsNameOf, formatIdentity } from '@berth/kernel';
import { controlPlaneOwners } from '@berth/store-etcd';
import { recordFigures } from '@berth/testing-hosts';
import { eventOwners } from '@berth/workload';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cast } from './access/credentials.ts';
import { castOf, folder } from './access/credentials.ts';
import type { AnyService, Caller, Rpc } from './access/matrix.ts';
import {
  covers,
  expectedCall,
  expectedSubject,
  pathOf,
  rpcsOf,
  services,
  subjectCells,
  withoutRule,
} from './access/matrix.ts';
import type { Credentials, Job, Outcome, Request } from './access/probe.ts';
import type { Cluster } from './cluster.ts';
import { retry, startCluster } from './cluster.ts';
import { helloService } from './web-image.ts';

let cluster: Cluster;
let cast: Cast;
beforeAll(async () => {
  cluster = await startCluster();
  cast = await castOf(cluster);
  const text = `services:\n  web:\n${helloService}`;
  await cluster.berth(['up', '-f', cluster.compose('app', text), '-p', 'app']);
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

const probeScript = join(import.meta.dirname, 'access/probe.ts');

/** Makes the calls from within the host's network. */
async function probe(jobs: readonly Job[], credentials: Readonly<Record<string, Credentials>> = cast.credentials) {
  const request: Request = { credentials, jobs };
  const out = await cluster.host.exec([process.execPath, probeScript], { stdin: JSON.stringify(request) });
  return JSON.parse(out) as Outcome[];
}

/** Ports with mTLS and who serves there. A service that is nowhere here has no place in the matrix: a test says so. */
const servedAt: Readonly<Record<string, { readonly port: number; readonly server: string }>> = {
  [PresenceServiceDefinition.fullName]: { port: 7401, server: 'registry.service.berth' },
  [CatalogServiceDefinition.fullName]: { port: 7401, server: 'registry.service.berth' },
  [NodeServiceDefinition.fullName]: { port: 7401, server: 'registry.service.berth' },
  [CertificateServiceDefinition.fullName]: { port: 7401, server: 'registry.service.berth' },
  [ControlServiceDefinition.fullName]: { port: 7411, server: 'scheduler.service.berth' },
  [DispatchServiceDefinition.fullName]: { port: 7411, server: 'scheduler.service.berth' },
  [NetworkServiceDefinition.fullName]: { port: 7421, server: 'network-manager.service.berth' },
  [RuntimeServiceDefinition.fullName]: { port: 7431, server: 'node' },
  [ProbeServiceDefinition.fullName]: { port: 7431, server: 'node' },
  [SigningServiceDefinition.fullName]: { port: 7432, server: 'signer.service.berth' },
};
/** Services with a way in of their own: tests of their own. */
const apart: readonly string[] = [JoinServiceDefinition.fullName, SetupServiceDefinition.fullName];

/** Requests that an admitted caller's handler refuses for its own reasons, where an empty one would do something. */
const harmless: Readonly<Record<string, Uint8Array>> = {
  ReportStatic: ReportStaticRequest.encode(ReportStaticRequest.fromPartial({ tasks: [{}] })).finish(),
  // Another cluster's settings: this host has one.
  Init: InitRequest.encode(InitRequest.fromPartial({ advertiseAddress: '198.18.255.1' })).finish(),
};
/** What can only be called for real comes last. */
const lastly = ['RotateToken'];

const base64 = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? new Uint8Array()).toString('base64');

function call(rpc: Pick<Rpc, 'service' | 'method'>, as: string, body?: Uint8Array): Job {
  const { port, server } = servedAt[rpc.service] ?? { port: 0, server: '' };
  return {
    kind: 'grpc',
    address: `${cluster.host.address}:${port}`,
    serverName: server === 'node' ? dnsNameOf(cast.node) : server,
    as,
    path: pathOf({ ...rpc, allow: [] }),
    body: base64(body ?? harmless[rpc.method]),
    // Who claims to be somebody is still who the certificate says.
    headers: { 'x-berth-caller': 'operator:admin' },
  };
}

/** What an outcome means for access; anything unexpected in its own words. */
function meaning(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'nothing';
  if (outcome.kind === 'open') return 'admitted';
  if (outcome.kind === 'status') {
    const denied = outcome.code === 7 && outcome.details.includes('ACCESS_DENIED');
    if (denied) return 'denied';
    if (outcome.code === 12 || outcome.code === 13 || outcome.code === 16) {
      return `status ${outcome.code} ${outcome.message}`;
    }
    return 'admitted';
  }
  return outcome.kind === 'unreachable' ? `unreachable: ${outcome.why}` : outcome.kind;
}

/** Runs every cell and returns those that are not as they must be. */
async function judge<C extends { readonly expected: string; readonly job: Job; readonly name: string }>(
  cells: readonly C[],
): Promise<string[]> {
  const outcomes = await probe(cells.map(({ job }) => job));
  return cells.flatMap(({ expected, name }, i) => {
    const is = meaning(outcomes[i]);
    return is === expected ? [] : [`${name}: must be ${expected}, is ${is} (${JSON.stringify(outcomes[i])})`];
  });
}

describe('RPCs', () => {
  it('have a rule each, and each service a place in this matrix', () => {
    expect(withoutRule(services)).toEqual([]);
    const known = [...Object.keys(servedAt), ...apart];
    expect(services.map(({ fullName }) => fullName).filter((name) => !known.includes(name))).toEqual([]);
  });

  it('without a rule are found, and would be denied to everybody', () => {
    const planted: AnyService = { fullName: 'berth.test.v1.Planted', methods: { a: { name: 'A', options: {} } } };
    expect(withoutRule([...services, planted])).toEqual(['/berth.test.v1.Planted/A']);
    for (const caller of cast.callers) expect(expectedCall({ allow: [] }, caller)).not.toBe('admitted');
  });

  it('every RPC × identity: only whom its rule names gets past access', async ({ task }) => {
    const rpcs = rpcsOf(services)
      .filter(({ service }) => !apart.includes(service))
      .sort((a, b) => Number(lastly.includes(a.method)) - Number(lastly.includes(b.method)));
    const cells = rpcs.flatMap((rpc) =>
      cast.callers.map((caller) => ({
        name: `${pathOf(rpc)} as ${caller.name}`,
        expected: expectedCall(rpc, caller),
        job: call(rpc, caller.name),
      })),
    );
    expect(await judge(cells)).toEqual([]);
    const count = (expected: string) => cells.filter((cell) => cell.expected === expected).length;
    recordFigures(task, {
      RPCs: rpcs.length,
      identities: cast.callers.length,
      cells: cells.length,
      admitted: count('admitted'),
      denied: count('denied'),
      'refused at TLS': count('refused'),
    });
    // Not all alike: each kind of answer was seen.
    for (const kind of ['admitted', 'denied', 'refused']) expect(count(kind)).toBeGreaterThan(20);
  });

  it('the join port knows nobody, asks for nothing but a token, and serves nothing else', async () => {
    const at = (rpc: Rpc, as: string): Job => ({
      ...(call(rpc, as) as Job & { kind: 'grpc' }),
      address: `${cluster.host.address}:7402`,
      serverName: 'registry.service.berth',
    });
    const [joins, others] = [true, false].map((isJoin) =>
      rpcsOf(services).filter(({ service }) => (service === JoinServiceDefinition.fullName) === isJoin),
    ) as [Rpc[], Rpc[]];
    const outcomes = await probe(joins.flatMap((rpc) => cast.callers.map((caller) => at(rpc, caller.name))));
    expect(outcomes.length).toBeGreaterThan(0);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ kind: 'status', code: 7, details: expect.stringContaining('BAD_TOKEN') });
    }
    for (const name of ['none', 'operator', 'service:scheduler']) {
      for (const outcome of await probe(others.map((rpc) => at(rpc, name)))) {
        expect(outcome).toMatchObject({ kind: 'status', code: 12 });
      }
    }
  });

  it('the setup service is on the Unix socket of root alone', async () => {
    const setup = rpcsOf(services).filter(({ service }) => service === SetupServiceDefinition.fullName);
    const socket = join(cluster.stateDir, 'agent.sock');
    const local = setup.map((rpc) => ({ ...(call(rpc, 'none') as Job & { kind: 'grpc' }), address: socket }));
    for (const rpc of setup) expect(rpc.allow).toEqual(['local-root']);
    expect((await probe(local)).map(meaning)).toEqual(setup.map(() => 'admitted'));
    expect(statSync(socket)).toMatchObject({ uid: 0, mode: 0o140_600 });
    const connect = `require('node:net').connect(${JSON.stringify(socket)}).on('connect', () => console.log('in')).on('error', (e) => console.log(e.code))`;
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all', '--'];
    expect((await cluster.host.tryExec([...asNobody, process.execPath, '-e', connect])).stdout.trim()).toBe('EACCES');
    // At no port is it served, whoever asks; and the socket serves nothing else.
    const ports = [...new Set(Object.values(servedAt).map(({ port }) => port))];
    const certified = cast.callers.filter(({ identity }) => identity !== undefined);
    const jobs = ports.flatMap((port) =>
      certified.flatMap((caller) =>
        setup.map((rpc): Job => {
          const server = Object.values(servedAt).find((each) => each.port === port)?.server ?? '';
          return {
            ...(call(rpc, caller.name) as Job & { kind: 'grpc' }),
            address: `${cluster.host.address}:${port}`,
            serverName: server === 'node' ? dnsNameOf(cast.node) : server,
          };
        }),
      ),
    );
    for (const outcome of await probe(jobs)) expect(outcome).toMatchObject({ kind: 'status', code: 12 });
    const elsewhere = rpcsOf(services)
      .filter(({ service }) => service !== SetupServiceDefinition.fullName)
      .map((rpc) => ({ ...(call(rpc, 'none') as Job & { kind: 'grpc' }), address: socket }));
    for (const outcome of await probe(elsewhere)) expect(outcome).toMatchObject({ kind: 'status', code: 12 });
  });
});

describe('NATS subjects', () => {
  it('every subject × identity: its role’s permissions, no more', async ({ task }) => {
    const cells = subjectCells(cast.callers);
    // Agents listen to beacons: what is published there in the test is what its owner said a moment ago.
    const beacons = eventOwners.map(({ owner }) => eventSubjects(owner).beacon);
    const payloads = await retry(20_000, async () => {
      // A new certificate is known to NATS a moment after it was issued.
      const known = cast.callers.filter(({ knownToNats }) => knownToNats);
      const greeted = await probe(known.map(({ name }) => ({ ...nats(name), subject: 'something.else' })));
      for (const [i, { name }] of known.entries()) expect(greeted[i], name).toMatchObject({ kind: 'violation' });
      const heard = await probe(beacons.map((subject) => ({ ...nats('operator'), verb: 'first', subject })));
      return new Map<string, string>(
        beacons.map((subject, i) => {
          expect(heard[i], subject).toMatchObject({ message: expect.stringContaining('publishedUpTo') });
          return [subject, heard[i]?.kind === 'taken' ? heard[i].message : ''];
        }),
      );
    });
    const all = cells.flatMap((cell) =>
      cast.callers.map((caller) => ({
        name: `${cell.verb} ${cell.subject} as ${caller.name}`,
        expected: expectedSubject(cell, caller),
        job: { ...nats(caller.name), ...cell, payload: payloads.get(cell.subject) ?? '' } as Job,
      })),
    );
    expect(await judge(all)).toEqual([]);
    const count = (expected: string) => all.filter((cell) => cell.expected === expected).length;
    recordFigures(task, { subjects: cells.length, cells: all.length, taken: count('taken') });
    for (const kind of ['taken', 'violation', 'refused']) expect(count(kind)).toBeGreaterThan(20);
  });

  it('the matcher behind the expectations knows wildcards', () => {
    expect(covers('berth.*.changes.>', 'berth.registry.changes.a.b')).toBe(true);
    expect(covers('berth.*.changes.>', 'berth.*.changes.>')).toBe(true);
    expect(covers('berth.registry.changes.>', 'berth.*.changes.>')).toBe(false);
    expect(covers('berth.*.beacon', 'berth.>')).toBe(false);
    expect(covers('berth.*.beacon', 'berth.a.beacon.b')).toBe(false);
    expect(covers('a.>', 'a')).toBe(false);
  });

  const nats = (as: string): Job & { kind: 'nats' } => ({
    kind: 'nats',
    address: `${cluster.host.address}:7451`,
    as,
    verb: 'subscribe',
    subject: '',
  });
});

describe('etcd', () => {
  const server = (): { address: string; serverName: string } => ({
    address: `${cluster.host.address}:7441`,
    serverName: 'localhost',
  });
  /** A message with one bytes field. */
  const keyed = (key: string): Uint8Array => Uint8Array.from([0x0a, key.length, ...Buffer.from(key)]);

  it('every prefix × user: an owner its own, and meta/ to read; root everything', async ({ task }) => {
    const users: Readonly<Record<string, string>> = {
      root: 'etcd-client-bootstrap',
      ...Object.fromEntries(controlPlaneOwners.map(({ user }) => [user, `etcd-client-${user}`])),
    };
    const credentials = Object.fromEntries(
      Object.entries(users).map(([user, name]) => [user, folder(join(cluster.stateDir, 'certs', name))]),
    );
    const prefixes = [...controlPlaneOwners.map(({ prefix }) => prefix), 'meta', 'other'];
    const cells = Object.keys(users).flatMap((user) =>
      prefixes.flatMap((prefix) => {
        const isOwner = controlPlaneOwners.some((owner) => owner.user === user && owner.prefix === prefix);
        const may = {
          Range: user === 'root' || isOwner || prefix === 'meta',
          // Deleting a key that is not there needs the right to write, and changes nothing.
          DeleteRange: user === 'root' || isOwner,
        };
        return (['Range', 'DeleteRange'] as const).map((method) => ({
          name: `${method} ${prefix}/ as ${user}`,
          expected: may[method],
          job: {
            kind: 'grpc' as const,
            ...server(),
            as: user,
            path: `/etcdserverpb.KV/${method}`,
            body: base64(keyed(`${prefix}/access-test`)),
          },
        }));
      }),
    );
    const outcomes = await probe(
      cells.map(({ job }) => job),
      credentials,
    );
    const wrong = cells.filter(({ expected }, i) => {
      const outcome = outcomes[i];
      if (outcome?.kind !== 'status') return true;
      return expected ? outcome.code !== 0 : !(outcome.code === 7 && /permission denied/u.test(outcome.message));
    });
    expect(wrong.map(({ name }) => name)).toEqual([]);
    recordFigures(task, { prefixes: prefixes.length, users: Object.keys(users).length, cells: cells.length });
  });

  it('refuses everybody of the cluster’s own CA, in the TLS handshake already', async () => {
    const of = (caller: Caller): Job => ({ kind: 'handshake', ...server(), as: caller.name, maxVersion: 'TLSv1.2' });
    // Each trusts etcd's CA, so that it is etcd that refuses.
    const { ca } = folder(join(cluster.stateDir, 'certs/etcd'));
    const trusting = Object.fromEntries(
      Object.entries(cast.credentials).map(([name, shown]) => [name, { ...shown, ca }]),
    );
    const strangers = cast.callers.filter(({ name }) => name !== 'an etcd client');
    const outcomes = await probe(strangers.map(of), trusting);
    expect(strangers.map(({ name }) => name)).toContain('node');
    for (const [i, { name }] of strangers.entries()) {
      expect(outcomes[i], name).toMatchObject({ kind: 'refused', why: /alert/iu });
    }
    // The same handshake with a certificate of etcd's CA: the test can tell.
    const friend = cast.callers.filter(({ name }) => name === 'an etcd client');
    expect(await probe(friend.map(of), trusting)).toMatchObject([{ kind: 'taken' }]);
    // And with the newest TLS, where the server's word comes after the handshake: no call gets through.
    const calls = strangers.map(
      ({ name }): Job => ({
        kind: 'grpc',
        ...server(),
        as: name,
        path: '/etcdserverpb.KV/Range',
        body: base64(keyed('meta/epoch')),
      }),
    );
    for (const outcome of await probe(calls, trusting)) expect(outcome.kind).toBe('refused');
  });
});

describe('certificates', () => {
  const service = CertificateServiceDefinition.fullName;
  const bodyOf = (outcome: Outcome | undefined): Buffer => {
    expect(outcome).toMatchObject({ kind: 'status', code: 0 });
    return Buffer.from(outcome?.kind === 'status' ? outcome.body : '', 'base64');
  };

  it.each(['node', 'operator', 'reader', 'subscriber'])(
    'a CSR of %s that asks for another name gets its own',
    async (name) => {
      const identity = cast.callers.find((caller) => caller.name === name)?.identity;
      const csr = await createCsr(cast.credentials[name]?.key ?? '', 'service:scheduler');
      const body = RenewCertificateRequest.encode({ csr }).finish();
      const [outcome] = await probe([call({ service, method: 'RenewCertificate' }, name, body)]);
      const { certificatePem } = RenewCertificateResponse.decode(bodyOf(outcome));
      const facts = readCertificate(certificatePem);
      expect(identity).toBeDefined();
      expect(facts.commonName).toBe(identity && formatIdentity(identity));
      expect(facts.dnsNames).toEqual([identity && dnsNameOf(identity)]);
    },
  );

  it('what is issued carries the name that was asked for in the call, not in the CSR', async () => {
    const csr = await createCsr(cast.credentials['operator']?.key ?? '', 'operator:access');
    const body = IssueCertificateRequest.encode({ csr, role: 'subscriber', name: 'other' }).finish();
    const [outcome] = await probe([call({ service, method: 'IssueCertificate' }, 'operator', body)]);
    const { certificatePem } = IssueCertificateResponse.decode(bodyOf(outcome));
    expect(readCertificate(certificatePem)).toMatchObject({
      commonName: 'subscriber:other',
      dnsNames: ['other.subscriber.berth'],
    });
  });
});

describe('a node that does not belong here', () => {
  const watch = { service: NetworkServiceDefinition.fullName, method: 'ListLeases' };
  const session = { service: DispatchServiceDefinition.fullName, method: 'Session' };
  const connect = { service: PresenceServiceDefinition.fullName, method: 'Connect' };

  it.each([
    ['unknown node', 14, 'NODE_UNKNOWN'],
    ['node with another key', 7, 'FOREIGN_KEY'],
  ])('%s is refused by each of the three services', async (name, code, reason) => {
    const outcomes = await probe([watch, session, connect].map((rpc) => call(rpc, name)));
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ kind: 'status', code, details: expect.stringContaining(reason) });
    }
  });
});

describe('a node of another id', () => {
  const as = 'node of another id';
  const [dispatch, presence, network] = [
    DispatchServiceDefinition.fullName,
    PresenceServiceDefinition.fullName,
    NetworkServiceDefinition.fullName,
  ];
  const answerOf = async (service: string, method: string, name: string, request?: Uint8Array): Promise<Outcome> => {
    const [outcome] = await probe([call({ service, method }, name, request)]);
    return outcome as Outcome;
  };
  const decoded = <T>(codec: { decode(input: Uint8Array): T }, outcome: Outcome): T => {
    expect(outcome).toMatchObject({ kind: 'status', code: 0 });
    return codec.decode(Buffer.from(outcome.kind === 'status' ? outcome.body : '', 'base64'));
  };
  interface View {
    readonly task: { readonly id: string; readonly nodeId: string };
    readonly status: { readonly run: number; readonly state: number };
  }
  const theTask = async (): Promise<View> => {
    const [view] = await cluster.json<View[]>(['ps', 'app']);
    return view as View;
  };
  const networks = async () => decoded(ListNetworksResponse, await answerOf(network, 'ListNetworks', 'operator'));

  it('is given nothing of this node’s tasks, and can say nothing of them', async () => {
    const clusterId = clusterOf().clusterId;
    const hello = SessionRequest.encode(SessionRequest.fromPartial({ hello: helloOf(clusterId, 'test') })).finish();
    const mine = decoded(SessionResponse, await answerOf(dispatch, 'Session', 'node', hello));
    expect(mine).toMatchObject({ full: true });
    const { task, status } = await theTask();
    expect(mine.assignments.map((assignment) => assignment.task?.id)).toContain(task.id);
    const theirs = decoded(SessionResponse, await answerOf(dispatch, 'Session', as, hello));
    expect(theirs).toMatchObject({ full: true, assignments: [] });
    const report = ReportStatusRequest.fromPartial({
      statuses: [{ taskId: task.id, run: status.run, seq: 1_000_000, state: TaskState.TASK_STATE_FAILED }],
    });
    const body = ReportStatusRequest.encode(report).finish();
    const refusal = await answerOf(dispatch, 'ReportStatus', as, body);
    expect(refusal).toMatchObject({ kind: 'status', code: 7, details: expect.stringContaining('FOREIGN_TASK') });
    expect((await theTask()).status).toEqual(status);
  });

  it('cannot announce an endpoint in the place of this node’s', async () => {
    const { task } = await theTask();
    const [own] = (await networks()).networks.filter(({ stack }) => stack === 'app');
    const before = await addressesOfWeb();
    const forged = AnnounceEndpointsRequest.fromPartial({
      full: true,
      endpoints: [
        {
          taskId: task.id,
          networkId: own?.id ?? '',
          nodeId: task.nodeId,
          service: 'web',
          names: ['web'],
          taskName: 'web.1',
          ip: '198.19.255.254',
          healthy: true,
          run: 1_000,
        },
      ],
    });
    await answerOf(presence, 'AnnounceEndpoints', as, AnnounceEndpointsRequest.encode(forged).finish());
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(before).toHaveLength(1);
    expect(await addressesOfWeb()).toEqual(before);
  });

  it('holds no block of this node’s, and cannot give one back', async () => {
    const { leases } = await networks();
    const [lease] = leases;
    expect(lease).toBeDefined();
    expect(decoded(ListLeasesResponse, await answerOf(network, 'ListLeases', as)).leases).toEqual([]);
    const { networkId, block, id: leaseId } = lease ?? { networkId: '', block: '', id: '' };
    const body = ReleaseBlockRequest.encode({ networkId, block, leaseId }).finish();
    expect(await answerOf(network, 'ReleaseBlock', as, body)).toMatchObject({ kind: 'status', code: 0 });
    expect((await networks()).leases).toEqual(leases);
  });
});

function clusterOf(): { clusterId: string } {
  return JSON.parse(readFileSync(join(cluster.stateDir, 'cluster.json'), 'utf8')) as { clusterId: string };
}

/** Addresses that a container of the network is given for `web`. */
async function addressesOfWeb(): Promise<string[]> {
  const [web = ''] = await cluster.containers('app', 'web');
  const { stdout } = await cluster.inContainer(web, ['nslookup', '-type=a', 'web', '127.0.0.11']);
  return [...new Set(stdout.match(/198\.19\.\d+\.\d+/gu) ?? [])].sort();
}
