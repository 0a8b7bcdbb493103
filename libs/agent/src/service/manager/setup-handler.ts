import type {
  InitRequest,
  InitResponse,
  IssueOperatorRequest,
  IssueOperatorResponse,
  SetupServiceImplementation,
  StatusResponse,
} from '@berth/contracts/agent';
import type { CallerContext, Clock, Identity, Logger, Rng } from '@berth/kernel';
import { BerthError, newId } from '@berth/kernel';
import { defaultNetworkSettings, networkSettings } from '@berth/workload';
import { parseIp } from '../../domain/network/bridges.ts';
import { overlappingRoute } from '../../domain/pool.ts';
import type { PhaseBoard } from '../phase.ts';
import type { ClusterState, StateFiles } from '../state-files.ts';
import { Wake } from '../wake.ts';
import type { Authority } from './authority.ts';

/** A control plane that has not come up by then is reported as such, with what it waits for. */
const initTimeoutMs = 300_000;

export interface SetupHandlerOptions {
  readonly files: StateFiles;
  readonly authority: Authority;
  readonly board: PhaseBoard;
  /** Destinations of the host's routes, in CIDR form. */
  readonly routes: () => Promise<readonly string[]>;
  /** Goes to work as the manager of this cluster; again: no more. */
  readonly begin: (cluster: ClusterState) => void;
  /** A certificate was signed for an identity; resolves when the control plane has been told. */
  readonly onSigned: (identity: Identity) => Promise<void>;
  /** Static tasks by name, with their states. */
  readonly staticTasks: () => ReadonlyMap<string, string>;
  /** Where registries are reached, for clients. */
  readonly registries: () => readonly string[];
  /** Address to advertise, if the request names none. */
  readonly advertise: string;
  readonly version: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
}

/** What `cluster init` sets. */
type Settings = Omit<ClusterState, 'clusterId' | 'tokenHash' | 'createdAtMs'>;

interface CallSignal {
  readonly signal: AbortSignal;
}

/** What root on this host may ask of the agent, over the Unix socket. */
export class SetupHandler implements SetupServiceImplementation<CallerContext> {
  readonly #o: SetupHandlerOptions;
  /** One init at a time; a second finds what the first has made. */
  #making: Promise<unknown> = Promise.resolve();

  constructor(options: SetupHandlerOptions) {
    this.#o = options;
  }

  async *init(request: InitRequest, { signal }: CallSignal): AsyncIterable<InitResponse> {
    const { files, authority, begin } = this.#o;
    const made = this.#making.then(() => this.#makeCluster(request));
    this.#making = made.catch(() => undefined);
    const { cluster, fresh } = await made;
    yield progress(fresh ? `cluster ${cluster.clusterId} made: its CAs are on this host` : 'the cluster exists');
    begin(cluster);
    yield* this.#progressUntilReady(signal);
    const node = await files.node();
    const certificatePem = await this.#signOperator(request.operatorCsr, cluster.operator);
    // Shown once: from now on operators make tokens and end them, and this one must not be shown when it is over.
    const joinToken = (await files.token()) ?? '';
    await files.removeToken();
    yield {
      step: {
        $case: 'result',
        value: {
          clusterId: cluster.clusterId,
          caPem: await authority.caPem(),
          certificatePem,
          registries: [...this.#o.registries()],
          joinToken,
          nodeId: node?.nodeId ?? '',
        },
      },
    };
  }

  /** Finds or makes the cluster's state. What it writes last, the cluster's file, is what makes it one. */
  async #makeCluster(request: InitRequest): Promise<{ cluster: ClusterState; fresh: boolean }> {
    const { files, authority, clock, rng, log } = this.#o;
    const wanted = this.#settings(request);
    const existing = await files.cluster();
    if (existing) {
      assertSame(wanted, existing);
      return { cluster: existing, fresh: false };
    }
    if (await files.node()) {
      throw new BerthError('FailedPrecondition', 'this host is a node of another cluster already', {
        reason: 'ALREADY_JOINED',
      });
    }
    const overlap = overlappingRoute(wanted.networkPool, await this.#o.routes());
    if (overlap !== undefined) {
      throw new BerthError(
        'InvalidArgument',
        `the address pool ${wanted.networkPool} overlaps the host's route to ${overlap}. Remedy: name another pool, ` +
          'e.g. --pool 10.192.0.0/12',
        { reason: 'POOL_OVERLAPS', details: { route: overlap } },
      );
    }
    const clusterId = newId(rng);
    await authority.create(clusterId);
    const { token, secretHash } = await authority.newToken();
    await files.saveToken(token);
    const cluster = { ...wanted, clusterId, createdAtMs: clock.wall(), tokenHash: secretHash };
    await files.saveCluster(cluster);
    log.info({ clusterId }, 'cluster made');
    return { cluster, fresh: true };
  }

  #settings(request: InitRequest): Settings {
    const networkPool = request.networkPool || defaultNetworkSettings.pool;
    const rangePrefix = request.rangePrefix || defaultNetworkSettings.rangePrefix;
    const blockPrefix = request.blockPrefix || defaultNetworkSettings.blockPrefix;
    // They are fixed from now on: what the network-manager can't use must not be written down.
    networkSettings({ pool: networkPool, rangePrefix, blockPrefix });
    const advertise = request.advertiseAddress || this.#o.advertise;
    if (advertise === '') {
      throw new BerthError(
        'InvalidArgument',
        'no address to advertise. Remedy: name the one at which others reach this host',
        {
          reason: 'BAD_ADDRESS',
        },
      );
    }
    if (parseIp(advertise) === undefined) {
      throw new BerthError(
        'InvalidArgument',
        `${JSON.stringify(advertise)} is no IPv4 address. Remedy: name the one at which others reach this host by number`,
        { reason: 'BAD_ADDRESS' },
      );
    }
    return {
      advertise,
      networkPool,
      rangePrefix,
      blockPrefix,
      operator: request.operator || 'admin',
      labels: request.labels,
    };
  }

  async *#progressUntilReady(signal: AbortSignal): AsyncIterable<InitResponse> {
    const { board, staticTasks, clock } = this.#o;
    const wake = new Wake(clock);
    const unsubscribe = board.onChange(() => wake.notify());
    const deadline = clock.monotonic() + initTimeoutMs;
    const said = new Map<string, string>();
    try {
      // An agent that restarted meanwhile may have its sessions before all of the control plane is up again.
      while (board.phase !== 'ready' || !settled(staticTasks())) {
        for (const [name, state] of [...staticTasks(), ['agent', board.note] as const]) {
          if (state === '' || said.get(name) === state) continue;
          said.set(name, state);
          yield progress(`${name}: ${state}`);
        }
        if (signal.aborted) throw new BerthError('Cancelled', 'the call was given up; the agent goes on by itself');
        if (clock.monotonic() > deadline) throw notReady(staticTasks(), board.note);
        await wake.wait(200, signal);
      }
    } finally {
      unsubscribe();
    }
  }

  async issueOperator(request: IssueOperatorRequest): Promise<IssueOperatorResponse> {
    const { authority, files, registries, log } = this.#o;
    const cluster = await files.cluster();
    if (cluster === undefined) {
      throw new BerthError(
        'FailedPrecondition',
        'this host is no manager: ask on the one where `berth cluster init` ran',
        {
          reason: 'NO_CA',
        },
      );
    }
    if (!/^[a-z0-9-]{1,32}$/u.test(request.name)) {
      throw new BerthError('InvalidArgument', `${JSON.stringify(request.name)} is no name: [a-z0-9-]{1,32}`, {
        reason: 'BAD_NAME',
      });
    }
    const certificatePem = await this.#signOperator(request.csr, request.name);
    log.info({ operator: request.name }, 'operator certificate issued over the local socket');
    return {
      clusterId: cluster.clusterId,
      certificatePem,
      caPem: await authority.caPem(),
      registries: [...registries()],
    };
  }

  async #signOperator(csr: Uint8Array, name: string): Promise<string> {
    const identity = { role: 'operator' as const, name };
    const certificate = await this.#o.authority.sign({ csr, identity, addresses: [] });
    await this.#o.onSigned(identity);
    return certificate;
  }

  async status(): Promise<StatusResponse> {
    const { files, board, version, staticTasks } = this.#o;
    const [cluster, node] = await Promise.all([files.cluster(), files.node()]);
    return {
      clusterId: cluster?.clusterId ?? node?.clusterId ?? '',
      nodeId: node?.nodeId ?? '',
      phase: board.phase,
      version,
      staticTasks: Object.fromEntries(staticTasks()),
    };
  }
}

/** Does every static task run, healthy where that is checked, or has it done what it had to? */
function settled(statics: ReadonlyMap<string, string>): boolean {
  return [...statics.values()].every((state) => state === 'running' || state.startsWith('complete'));
}

function progress(line: string): InitResponse {
  return { step: { $case: 'progress', value: line } };
}

function assertSame(wanted: Settings, existing: ClusterState): void {
  for (const key of ['advertise', 'networkPool', 'rangePrefix', 'blockPrefix', 'operator'] as const) {
    if (wanted[key] === existing[key]) continue;
    throw new BerthError(
      'FailedPrecondition',
      `this host manages cluster ${existing.clusterId} already, with ${key} ${existing[key]}, not ${wanted[key]}`,
      { reason: 'ALREADY_INITIALISED' },
    );
  }
}

function notReady(statics: ReadonlyMap<string, string>, note: string): BerthError {
  const states = [...statics].map(([name, state]) => `${name} ${state}`).join(', ');
  return new BerthError('DeadlineExceeded', `the control plane is not up: ${states}${note === '' ? '' : `; ${note}`}`, {
    reason: 'CONTROL_PLANE_NOT_READY',
  });
}
