import { Member } from '@berth/contracts/registry';
import type { Identity } from '@berth/kernel';
import { formatIdentity } from '@berth/kernel';
import { MemoryDisk, MemoryLogger, SeededRng, VirtualClock } from '@berth/memory';
import { describe, expect, it } from 'vitest';
import { PhaseBoard } from '../phase.ts';
import type { ClusterState } from '../state-files.ts';
import { StateFiles } from '../state-files.ts';
import type { Authority, WantedCertificate } from './authority.ts';
import { ControlPlaneCertificates, wantedCertificates } from './certificates.ts';
import { NatsUsers, natsFolders } from './nats-users.ts';
import { SetupHandler } from './setup-handler.ts';
import { SigningHandler } from './signing-handler.ts';

const day = 86_400_000;
const signal = new AbortController().signal;
const csr = Buffer.from('csr');

/** Certificates that are due after 45 days; signatures that say what was signed. */
class FakeAuthority implements Authority {
  readonly clock: VirtualClock;
  readonly issued: string[] = [];
  made = 0;
  step = 0;
  readonly #due = new Map<string, number>();

  constructor(clock: VirtualClock) {
    this.clock = clock;
  }

  async create(): Promise<void> {
    this.made += 1;
  }

  async caPem(): Promise<string> {
    return 'ca';
  }

  async sign(request: { identity: Identity; addresses: readonly string[] }): Promise<string> {
    return `${formatIdentity(request.identity)} at ${request.addresses.join()}`;
  }

  async issue(wanted: WantedCertificate): Promise<boolean> {
    this.issued.push(wanted.folder);
    const before = this.#due.get(wanted.folder);
    this.#due.set(wanted.folder, this.clock.wall() + 45 * day);
    return before === 0;
  }

  async caStep() {
    return { step: this.step, atMs: this.clock.wall() - 1_000 };
  }

  async advance(from: number) {
    if (from === this.step) {
      this.step += 1;
      for (const folder of this.#due.keys()) this.#due.set(folder, 0);
    }
    return this.caStep();
  }

  async dueAtMs(wanted: WantedCertificate): Promise<number> {
    return this.#due.get(wanted.folder) ?? 0;
  }

  async newToken() {
    return { token: 'token', secretHash: 'hash' };
  }
}

describe('certificates of the control plane', () => {
  it('name etcd users by the etcd CA, services by the cluster CA, each at this host', () => {
    const wanted = wantedCertificates('198.18.0.1');
    const text = wanted.map(({ folder, subject, addresses }) =>
      [
        folder,
        subject.ca,
        subject.ca === 'etcd' ? subject.commonName : formatIdentity(subject.identity),
        ...addresses,
      ].join(' '),
    );
    expect(text).toEqual([
      'registry cluster service:registry 198.18.0.1 127.0.0.1',
      'scheduler cluster service:scheduler 198.18.0.1 127.0.0.1',
      'network-manager cluster service:network-manager 198.18.0.1 127.0.0.1',
      'nats cluster service:nats 198.18.0.1 127.0.0.1',
      'signer cluster service:signer 198.18.0.1 127.0.0.1',
      'etcd etcd etcd 198.18.0.1 127.0.0.1',
      'etcd-client-bootstrap etcd root',
      'etcd-client-registry etcd registry',
      'etcd-client-scheduler etcd scheduler',
      'etcd-client-network-manager etcd network-manager',
    ]);
  });

  it('are issued once and renewed when due, with no registry; at once after a long time off', async () => {
    const clock = new VirtualClock();
    const authority = new FakeAuthority(clock);
    const renewed: string[] = [];
    const options = {
      authority,
      address: '198.18.0.1',
      clock,
      log: new MemoryLogger(),
      onRenewed: (folder: string) => {
        renewed.push(folder);
      },
    };
    const count = wantedCertificates('').length;
    await new ControlPlaneCertificates(options).ensure();
    await new ControlPlaneCertificates(options).ensure();
    expect(authority.issued).toHaveLength(count);
    const abort = new AbortController();
    const running = new ControlPlaneCertificates(options).run(abort.signal);
    await clock.advance(44 * day);
    expect(authority.issued).toHaveLength(count);
    await clock.advance(2 * day);
    expect(authority.issued).toHaveLength(2 * count);
    expect(renewed).toEqual(authority.issued);
    abort.abort();
    await running;
    clock.setWall(clock.wall() + 400 * day);
    await new ControlPlaneCertificates(options).ensure();
    expect(authority.issued).toHaveLength(3 * count);
  });
});

describe('certificates of the control plane whose CAs are moved on', () => {
  it('are all issued anew at once, and who must restart for it is told', async () => {
    const clock = new VirtualClock();
    const authority = new FakeAuthority(clock);
    const trust: string[] = [];
    const certificates = new ControlPlaneCertificates({
      authority,
      address: '198.18.0.1',
      clock,
      log: new MemoryLogger(),
      onRenewed: (folder, renewed) => {
        if (renewed.trust) trust.push(folder);
      },
    });
    const count = wantedCertificates('').length;
    const abort = new AbortController();
    const running = certificates.run(abort.signal);
    await clock.advance(5_000);
    expect(trust).toEqual([]);
    await authority.advance(0);
    certificates.changed();
    await clock.advance(1_000);
    expect(trust).toHaveLength(count);
    expect(trust).toContain('etcd');
    abort.abort();
    await running;
  });
});

describe('signing', () => {
  const setUp = () => {
    const signed: string[] = [];
    const onSigned = async (identity: Identity): Promise<void> => void signed.push(formatIdentity(identity));
    const authority = new FakeAuthority(new VirtualClock());
    const advanced: number[] = [];
    return {
      signed,
      authority,
      advanced,
      handler: new SigningHandler({
        authority,
        clock: authority.clock,
        log: new MemoryLogger(),
        onSigned,
        onAdvanced: () => advanced.push(authority.step),
      }),
    };
  };

  it('moves the CAs on from the step that the caller has seen, and tells who must issue anew', async () => {
    const { handler, advanced } = setUp();
    expect(await handler.advanceCa({})).toMatchObject({ step: 0, caPem: 'ca', stepAgeMs: 1_000 });
    expect(await handler.advanceCa({ fromStep: 0 })).toMatchObject({ step: 1 });
    expect(await handler.advanceCa({ fromStep: 0 })).toMatchObject({ step: 1 });
    expect(await handler.advanceCa({ fromStep: 5 })).toMatchObject({ step: 1 });
    expect(advanced).toEqual([1]);
  });

  it('gives the identity that the registry asks for, addresses to nodes alone', async () => {
    const { handler, signed } = setUp();
    const sign = (identity: string) => handler.sign({ csr, identity, addresses: ['198.18.0.9'] });
    expect((await sign('node:n1')).certificatePem).toBe('node:n1 at 198.18.0.9');
    expect((await sign('subscriber:s1')).certificatePem).toBe('subscriber:s1 at ');
    expect(signed).toEqual(['node:n1', 'subscriber:s1']);
  });

  it.each(['service:scheduler', 'local-root', 'anyone', 'node:', ''])('refuses %j', async (identity) => {
    const { handler, signed } = setUp();
    await expect(handler.sign({ csr, identity, addresses: [] })).rejects.toThrow();
    expect(signed).toEqual([]);
  });
});

describe('NATS users', () => {
  const member = (identity: string) => Member.fromPartial({ identity });
  const setUp = async (disk = new MemoryDisk()) => {
    const clock = new VirtualClock();
    let reloads = 0;
    const users = new NatsUsers({
      disk,
      clock,
      log: new MemoryLogger(),
      address: '198.18.0.1',
      port: 7451,
      httpPort: 7453,
      reload: async () => {
        reloads += 1;
      },
    });
    await users.prepare([]);
    const abort = new AbortController();
    const running = users.run(abort.signal);
    const names = async (): Promise<string[]> => {
      const text = new TextDecoder().decode(await disk.read(`${natsFolders.config}/users.conf`));
      return [...text.matchAll(/user: "([^"]+)"/gu)]
        .map((m) => m[1] ?? '')
        .filter((n) => !n.endsWith('.service.berth'));
    };
    const end = (): Promise<void> => {
      abort.abort();
      return running;
    };
    return { users, clock, disk, names, reloads: () => reloads, end };
  };

  it('are those that were signed and the nodes that are members; who leaves is cut off by a reload', async () => {
    const { users, clock, names, reloads, end } = await setUp();
    await users.issued({ role: 'node', id: 'n1' });
    await users.issued({ role: 'subscriber', name: 's1' });
    await clock.advance(1_000);
    expect(await names()).toEqual(['n1.node.berth', 's1.subscriber.berth']);
    users.members([member('node:n1'), member('node:n2'), member('service:scheduler')]);
    await clock.advance(1_000);
    expect(await names()).toEqual(['n1.node.berth', 'n2.node.berth', 's1.subscriber.berth']);
    expect(reloads()).toBe(2);
    users.members([member('node:n2')]);
    await clock.advance(1_000);
    expect(await names()).toEqual(['n2.node.berth', 's1.subscriber.berth']);
    users.members([member('node:n2')]);
    await clock.advance(1_000);
    expect(reloads()).toBe(3);
    await end();
  });

  it('who was revoked is cut off by a reload, gets no new certificate, and stays out after a restart', async () => {
    const { users, clock, disk, names, reloads, end } = await setUp();
    await users.issued({ role: 'operator', name: 'ann' });
    await users.issued({ role: 'operator', name: 'bob' });
    await clock.advance(1_000);
    users.revoked(['operator:ann']);
    await clock.advance(1_000);
    expect(await names()).toEqual(['bob.operator.berth']);
    expect(reloads()).toBe(2);
    const again = { role: 'operator', name: 'ann' } as const;
    await expect(users.issued(again)).rejects.toMatchObject({ reason: 'NAME_REVOKED' });
    await end();
    const next = await setUp(disk);
    await expect(next.users.issued(again)).rejects.toMatchObject({ reason: 'NAME_REVOKED' });
    expect(await next.names()).toEqual(['bob.operator.berth']);
    await next.end();
  });

  it('NATS reads its own renewed certificate at a reload', async () => {
    const { users, clock, reloads, end } = await setUp();
    users.certificateRenewed();
    await clock.advance(1_000);
    expect(reloads()).toBe(1);
    await end();
  });

  it('outlive the agent', async () => {
    const first = await setUp();
    await first.users.issued({ role: 'operator', name: 'admin' });
    await first.end();
    const second = await setUp(first.disk);
    expect(await second.names()).toEqual(['admin.operator.berth']);
    await second.end();
  });
});

describe('setup', () => {
  const request = {
    advertiseAddress: '198.18.0.1',
    networkPool: '',
    rangePrefix: 0,
    blockPrefix: 0,
    operator: '',
    operatorCsr: csr,
    labels: {},
  };
  const setUp = (routes: readonly string[] = []) => {
    const clock = new VirtualClock();
    const files = new StateFiles(new MemoryDisk());
    const authority = new FakeAuthority(clock);
    const board = new PhaseBoard();
    const begun: ClusterState[] = [];
    const signed: string[] = [];
    const statics = new Map([
      ['etcd', 'running'],
      ['bootstrap', 'complete'],
    ]);
    const handler = new SetupHandler({
      files,
      authority,
      board,
      routes: async () => routes,
      begin: (cluster) => begun.push(cluster),
      onSigned: async (identity) => void signed.push(formatIdentity(identity)),
      staticTasks: () => statics,
      registries: () => ['198.18.0.1:7401'],
      advertise: '127.0.0.1',
      version: 'test',
      clock,
      rng: new SeededRng(1),
      log: new MemoryLogger(),
    });
    const init = async (change: Partial<typeof request> = {}) => {
      const steps = [];
      for await (const { step } of handler.init({ ...request, ...change }, { signal })) steps.push(step);
      return steps;
    };
    return { clock, files, authority, board, begun, signed, statics, handler, init };
  };

  it('makes a cluster, tells what it waits for, and ends with what a client needs', async () => {
    const { clock, board, init, files, begun, signed, statics } = setUp();
    statics.set('etcd', 'starting').delete('bootstrap');
    const running = init();
    await clock.advance(1_000);
    await files.saveNode({ clusterId: begun[0]!.clusterId, nodeId: 'n1', advertise: '198.18.0.1' });
    board.set('ready');
    statics.set('etcd', 'running');
    await clock.advance(1_000);
    const steps = await running;
    expect(steps.slice(1, -1)).toEqual([{ $case: 'progress', value: 'etcd: starting' }]);
    expect(steps.at(-1)).toEqual({
      $case: 'result',
      value: {
        clusterId: begun[0]?.clusterId,
        caPem: 'ca',
        certificatePem: 'operator:admin at ',
        registries: ['198.18.0.1:7401'],
        joinToken: 'token',
        nodeId: 'n1',
      },
    });
    expect(signed).toEqual(['operator:admin']);
    expect(begun[0]).toMatchObject({
      networkPool: '10.64.0.0/10',
      rangePrefix: 22,
      blockPrefix: 26,
      tokenHash: 'hash',
    });
  });

  it('again with the same settings changes nothing; with others it is refused', async () => {
    const { board, init, authority, begun } = setUp();
    board.set('ready');
    const first = await init();
    const second = await init();
    expect(authority.made).toBe(1);
    // The first join token is shown once: it may be over by then.
    const tokens = [first, second]
      .map((steps) => steps.at(-1))
      .map((step) => step?.$case === 'result' && step.value.joinToken);
    expect(tokens).toEqual(['token', '']);
    expect(begun[1]).toEqual(begun[0]);
    await expect(init({ networkPool: '10.192.0.0/12' })).rejects.toMatchObject({ reason: 'ALREADY_INITIALISED' });
  });

  it('waits for all of the control plane, also when the agent has its sessions already', async () => {
    const { clock, board, init, statics } = setUp();
    board.set('ready');
    statics.set('nats', 'restarting (run 1 exited with code 1)').set('etcd', 'running (unhealthy: no)');
    let ended = false;
    const running = init().then(() => (ended = true));
    await clock.advance(10_000);
    expect(ended).toBe(false);
    statics.set('nats', 'running');
    await clock.advance(1_000);
    expect(ended).toBe(false);
    statics.set('etcd', 'running');
    await clock.advance(1_000);
    await running;
  });

  it('two at once make one cluster', async () => {
    const { board, init, authority } = setUp();
    board.set('ready');
    await Promise.all([init(), init()]);
    expect(authority.made).toBe(1);
  });

  it.each([
    [['10.70.0.0/16'], {}, 'POOL_OVERLAPS'],
    [[], { networkPool: '10.64.0.0' }, 'BAD_CIDR'],
    // What the network-manager would refuse, at every start, for good.
    [[], { networkPool: '10.64.0.1/10' }, 'BAD_CIDR'],
    [[], { advertiseAddress: 'h1.example' }, 'BAD_ADDRESS'],
    [[], { advertiseAddress: '198.18.0.256' }, 'BAD_ADDRESS'],
    [[], { rangePrefix: 9 }, 'BAD_NETWORK_SETTINGS'],
    [[], { rangePrefix: 24, blockPrefix: 23 }, 'BAD_NETWORK_SETTINGS'],
    [[], { blockPrefix: 30 }, 'BAD_NETWORK_SETTINGS'],
    [[], { rangePrefix: 27, blockPrefix: 29 }, 'BAD_NETWORK_SETTINGS'],
    [[], { rangePrefix: 12, blockPrefix: 26 }, 'BAD_NETWORK_SETTINGS'],
  ])('routes %j and settings %j: %s, and nothing is made', async (routes, settings, reason) => {
    const { init, authority, files } = setUp(routes);
    await expect(init(settings)).rejects.toMatchObject({ code: 'InvalidArgument', reason });
    expect(authority.made).toBe(0);
    expect(await files.cluster()).toBeUndefined();
  });

  it('a host that is a node of another cluster is none to make one on', async () => {
    const { init, files } = setUp();
    await files.saveNode({ clusterId: 'other', nodeId: 'n', advertise: 'x' });
    await expect(init()).rejects.toMatchObject({ reason: 'ALREADY_JOINED' });
  });

  it('says after five minutes what did not come up', async () => {
    const { clock, init, statics } = setUp();
    statics.set('etcd', 'starting');
    const running = init().catch((error: unknown) => error);
    await clock.advance(301_000);
    expect(await running).toMatchObject({
      reason: 'CONTROL_PLANE_NOT_READY',
      message: expect.stringContaining('etcd starting'),
    });
  });

  it('gives an operator who lost the certificate a new one, on a manager only', async () => {
    const { handler, board, init, signed } = setUp();
    await expect(handler.issueOperator({ csr, name: 'eve' })).rejects.toMatchObject({ reason: 'NO_CA' });
    board.set('ready');
    await init();
    expect((await handler.issueOperator({ csr, name: 'eve' })).certificatePem).toBe('operator:eve at ');
    await expect(handler.issueOperator({ csr, name: 'Eve!' })).rejects.toMatchObject({ reason: 'BAD_NAME' });
    expect(signed).toEqual(['operator:admin', 'operator:eve']);
    expect(await handler.status()).toMatchObject({ phase: 'ready', staticTasks: { etcd: 'running' } });
  });
});
