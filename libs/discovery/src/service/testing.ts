import type { WatchAnswer } from '@berth/changes';
import { RemoteMirror } from '@berth/changes';
import { helloOf } from '@berth/contracts';
import type { SigningServiceClient } from '@berth/contracts/agent';
import type { Change as NetworkChange } from '@berth/contracts/network';
import type { ConnectRequest, ConnectResponse, Member } from '@berth/contracts/registry';
import { Endpoint, Node } from '@berth/contracts/registry';
import type { Change as SchedulerChange } from '@berth/contracts/scheduler';
import { TaskView } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import type { CallExtra, CallerContext, Clock, Identity, Logger, Revision, Rng, Store } from '@berth/kernel';
import { AsyncQueue, BerthError } from '@berth/kernel';
import { CaRotation } from './ca-rotation.ts';
import { CatalogHandlers } from './catalog-handlers.ts';
import { CertificateHandlers } from './certificate-handlers.ts';
import { CertificateIssuer } from './certificate-issuer.ts';
import { JoinHandlers } from './join-handlers.ts';
import { NodeHandlers } from './node-handlers.ts';
import type { CertificateTools, Prober } from './ports.ts';
import { PresenceHandlers } from './presence-handlers.ts';
import { Registry } from './registry.ts';

export const clusterId = 'c1';
export const hello = helloOf(clusterId, 'test');
const epoch = 'epoch-1';
const text = new TextEncoder();

export function as(caller: Identity, signal = new AbortController().signal): CallerContext & { signal: AbortSignal } {
  return { caller, peer: 'test', signal };
}
export const nodeCaller = (id: string, signal?: AbortSignal) => as({ role: 'node', id }, signal);
export const operator = as({ role: 'operator', name: 'admin' });

/** A CSR, as far as these tests look: its text is its key. */
export const csr = (key: string) => Buffer.from(key);

/** Certificates as text: `<identity>|<serial>|<key>`. */
export const fakeTools: CertificateTools = {
  csrKeySha256: async (request) => `sha-${Buffer.from(request).toString()}`,
  readCertificate: (pem) => {
    const [, serial = '', key = ''] = pem.split('|');
    return { serial, publicKeySha256: `sha-${key}`, notBeforeMs: 0, notAfterMs: 1_767_225_600_000 + 90 * 86_400_000 };
  },
  hashTokenSecret: (secret) => `hash-${secret}`,
  tokenSecretMatches: (secret, hash) => hash === `hash-${secret}`,
  trustDigest: (caPem) => Buffer.from(caPem).toString('hex').padStart(64, '0'),
  newJoinToken: () => ({ token: 'token-new', secret: 'new' }),
};

/** The manager's agent: signs what it is asked, or is away. */
export class FakeSigner {
  available = true;
  /** Where the rotation of the CAs stands. */
  step = 0;
  stepAgeMs = 0;
  readonly signed: { readonly identity: string; readonly addresses: readonly string[] }[] = [];
  readonly client = {
    sign: async (request: { csr?: Buffer; identity?: string; addresses?: string[] }) => {
      if (!this.available) throw new BerthError('Unavailable', 'no signer');
      const { identity = '', addresses = [] } = request;
      this.signed.push({ identity, addresses });
      const certificatePem = `${identity}|serial${this.signed.length}|${request.csr?.toString() ?? ''}`;
      return { certificatePem, caPem: this.ca };
    },
    advanceCa: async ({ fromStep }: { fromStep?: number | undefined }) => {
      if (fromStep === this.step) {
        this.step += 1;
        this.stepAgeMs = 0;
      }
      return { step: this.step, stepAgeMs: this.stepAgeMs, caPem: this.ca };
    },
  } as SigningServiceClient<CallExtra>;

  get ca(): string {
    return `CA${this.step}`;
  }
}

/** All tasks here are of one service; the number in a task's id is its slot. */
export function webTask(taskId: string) {
  return { stackId: 's1', service: 'web', slot: Number(/\d+$/u.exec(taskId)?.[0] ?? 1) };
}

/** What the agent of a task announces of it. */
export function webEndpoint(taskId: string, partial: Partial<Endpoint> = {}): Endpoint {
  const { stackId, service, slot } = webTask(taskId);
  const ip = `10.64.0.${slot + 1}`;
  const names = { service, names: [service], taskName: `${service}.${slot}` };
  return Endpoint.fromPartial({ taskId, networkId: 'n1', stackId, ...names, ip, healthy: true, ...partial });
}

/** The scheduler's Watch: a snapshot of its tasks (or what came after a revision), then each change alone. */
export class FakeScheduler {
  readonly #tasks = new Map<string, TaskView>();
  readonly #log: SchedulerChange[] = [];
  readonly #listeners = new Set<() => void>();
  connected = true;

  set(id: string, nodeId: string, desired: DesiredState = DesiredState.DESIRED_STATE_RUNNING): void {
    const task = TaskView.fromPartial({ task: { id, nodeId, desired, ...webTask(id) } });
    this.#tasks.set(id, task);
    this.#log.push(taskChange(id, task));
    this.#wake();
  }

  remove(id: string): void {
    this.#tasks.delete(id);
    this.#log.push(taskChange(id, undefined));
    this.#wake();
  }

  setConnected(connected: boolean): void {
    this.connected = connected;
    this.#wake();
  }

  async *watch(since: Revision | undefined, signal: AbortSignal): AsyncGenerator<WatchAnswer<SchedulerChange>> {
    if (!this.connected) throw new BerthError('Unavailable', 'no scheduler');
    let sent = this.#log.length;
    const changes = since
      ? this.#log.slice(since.revision - 1)
      : [...this.#tasks].map(([id, task]) => taskChange(id, task));
    yield { revision: { epoch, revision: sent + 1 }, reset: !since, more: false, changes };
    while (!signal.aborted && this.connected) {
      if (sent < this.#log.length) {
        const fresh = this.#log.slice(sent);
        sent += fresh.length;
        yield { revision: { epoch, revision: sent + 1 }, reset: false, more: false, changes: fresh };
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#listeners.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  #wake(): void {
    for (const wake of this.#listeners) wake();
    this.#listeners.clear();
  }
}

function taskChange(id: string, task: TaskView | undefined): SchedulerChange {
  return { scopes: [], key: `task/${id}`, resource: task && { $case: 'task', value: task } };
}

/** What probes of an address are answered; nothing by default. */
export class FakeHosts implements Prober {
  readonly answers = new Map<string, 'open' | 'refused'>();
  /** What helpers see, by helper's address and target's. */
  readonly seenBy = new Map<string, 'open' | 'refused'>();

  async probe(target: Node, _timeoutMs: number, helper: Node | undefined): Promise<'open' | 'refused' | 'none'> {
    const address = `${target.address}:${target.agentPort}`;
    if (helper) return this.seenBy.get(`${helper.address} ${target.address}`) ?? 'none';
    return this.answers.get(address) ?? 'none';
  }
}

/** An agent's side of `Connect`: heartbeats every 500 ms while it lives. */
export class FakeAgent {
  readonly requests = new AsyncQueue<ConnectRequest>();
  readonly received: ConnectResponse[] = [];
  error: unknown;
  ended = false;
  beating = true;
  dispatchSynced = true;
  restarting = false;
  readonly #signal = new AbortController();

  constructor(handlers: PresenceHandlers, clock: Clock, nodeId: string, node: Node) {
    this.requests.push({ step: { $case: 'hello', value: { hello, node } } });
    const responses = handlers.connect(this.requests, nodeCaller(nodeId, this.#signal.signal));
    const read = async (): Promise<void> => {
      for await (const response of responses) this.received.push(response);
    };
    read()
      .catch((error) => {
        this.error = error;
      })
      .finally(() => {
        this.ended = true;
      });
    const beat = (): void => {
      if (this.#signal.signal.aborted) return;
      if (this.beating) this.heartbeat();
      clock.timer(500, beat);
    };
    beat();
  }

  get members(): readonly Member[] {
    return this.received.at(-1)?.members ?? [];
  }

  heartbeat(): void {
    const { dispatchSynced, restarting } = this;
    this.requests.push({ step: { $case: 'heartbeat', value: { dispatchSynced, restarting } } });
  }

  /** As a process that dies: the connection ends. */
  kill(): void {
    this.#signal.abort();
    this.requests.fail(new BerthError('Cancelled', 'gone'));
  }
}

export const describeNode = (partial: Partial<Node> = {}) =>
  Node.fromPartial({ hostname: 'h1', address: '198.18.0.1', agentPort: 7431, manager: true, ...partial });

/** A whole registry, its surroundings played: `replicas` of them on one store. */
export function assemble(parts: {
  readonly clock: Clock & { advanceUntil(condition: () => boolean, withinMs: number, stepMs: number): Promise<void> };
  readonly store: Store;
  readonly log: Logger;
  readonly rng: (seed: number) => Rng;
  readonly replicas: number;
  /** The network-manager; without it none is ever heard. */
  readonly networks?: { watch(signal: AbortSignal): AsyncGenerator<WatchAnswer<NetworkChange>> };
  /** A clock for each replica's process, so that one can stand still; the cluster's by default. */
  readonly clockOf?: (replica: string) => Clock;
  /** What probes come to; by default `hosts`, told by the test. */
  readonly prober?: Prober;
}) {
  const { store, log } = parts;
  const end = new AbortController();
  const scheduler = new FakeScheduler();
  const signer = new FakeSigner();
  const hosts = new FakeHosts();
  const failures: unknown[] = [];
  const start = (replica: string, seed: number) => {
    const clock = parts.clockOf?.(replica) ?? parts.clock;
    const own = new AbortController();
    const signal = AbortSignal.any([end.signal, own.signal]);
    const rng = parts.rng(seed);
    const mirror = new RemoteMirror<SchedulerChange>();
    const networks = new RemoteMirror<NetworkChange>();
    const registry = new Registry({
      store,
      clock,
      rng,
      log,
      prober: parts.prober ?? hosts,
      caSha256: () => fakeTools.trustDigest(signer.ca),
      replica,
      scheduler: mirror,
      networks,
    });
    const issuer = new CertificateIssuer({
      signer: signer.client,
      tools: fakeTools,
      clock,
      store,
      view: registry.view,
    });
    const rotation = new CaRotation({ registry, signer: signer.client, tools: fakeTools, store, clock, log });
    const call = (since: Revision | undefined, ended: AbortSignal) => scheduler.watch(since, ended);
    mirror.run({ call, clock, rng, log, signal }).catch((error) => failures.push(error));
    if (parts.networks) {
      const followed = parts.networks;
      const watch = (_since: unknown, ended: AbortSignal) => followed.watch(ended);
      networks.run({ call: watch, clock, rng, log, signal }).catch((error) => failures.push(error));
    }
    registry.run(signal).catch((error) => failures.push(error));
    return {
      registry,
      stop: () => own.abort(),
      join: new JoinHandlers({ registry, issuer, tools: fakeTools, store, clock, rng, log, clusterId }),
      presence: new PresenceHandlers({ registry, store, clock, log, clusterId }),
      catalog: new CatalogHandlers({ registry, clusterId }),
      nodes: new NodeHandlers({ registry, store, clock, log }),
      certificates: new CertificateHandlers({ registry, issuer, rotation, tools: fakeTools, store, clock, log }),
    };
  };
  const replicas = Array.from({ length: parts.replicas }, (_, i) => start(`replica${i}`, i + 1));
  const first = replicas[0] as ReturnType<typeof start>;
  const token = store.txn({
    compares: [],
    ops: [{ kind: 'put', key: 'registry/token/hash-secret', value: tokenRecord('hash-secret') }],
  });
  /** Runs a call that may wait for the virtual clock. */
  const run = async <T>(work: Promise<T>): Promise<T> => {
    await token;
    let done = false;
    const watched = work.finally(() => {
      done = true;
    });
    watched.catch(() => {});
    await parts.clock.advanceUntil(() => done, 30_000, 10);
    return watched;
  };
  const join = (key: string, node = describeNode()) =>
    run(
      first.join.join(
        { tokenSecret: 'secret', csr: csr(key), node, hello: { ...hello, clusterId: '' } },
        as({ role: 'anyone' }),
      ),
    );
  return { end, scheduler, signer, hosts, failures, replicas, ...first, run, start, joinNode: join };
}

/** A JoinToken with this hash: field 1, a string. */
function tokenRecord(hash: string): Uint8Array {
  const bytes = text.encode(hash);
  return Uint8Array.from([0x0a, bytes.length, ...bytes]);
}
