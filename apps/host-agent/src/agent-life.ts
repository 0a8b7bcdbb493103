import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterState, NatsUsers, NodeState } from '@berth/agent';
import { joinCluster } from '@berth/agent';
import { helloOf } from '@berth/contracts';
import { CertStore } from '@berth/identity';
import type { Identity } from '@berth/kernel';
import { assert, BerthError } from '@berth/kernel';
import { fileTls } from '@berth/rpc';
import type { Base } from './base.ts';
import type { Config } from './config.ts';
import { startControlPlane } from './control-plane.ts';
import { LateTls } from './late-tls.ts';
import type { LocalAuthority } from './local-authority.ts';
import { replicaAddresses } from './manifest.ts';
import { NodeCertificates } from './node-certificate.ts';
import type { LiveOptions, NodeWiring } from './node-wiring.ts';
import { wireNode } from './node-wiring.ts';
import { ownAddressTowards } from './own-address.ts';
import { softwareVersion } from './version.ts';

/** What the host is when its life begins. */
export interface Known {
  readonly cluster?: ClusterState | undefined;
  readonly node?: NodeState | undefined;
}

/** From knowing the cluster to being a node of it: containers first, on a manager the control plane, then the sessions.
 *  Nothing here waits for a control plane that is away, except who has never been a node. */
export class AgentLife {
  readonly #base: Base;
  readonly #authority: LocalAuthority;
  readonly #tls = new LateTls();
  #begun = false;
  #cluster: ClusterState | undefined;
  #wired: NodeWiring | undefined;
  #closeTls: () => void = () => {};
  /** Resolves when the host was removed from its cluster and nothing of it runs any more. */
  readonly left: Promise<void>;
  #setLeft: () => void = () => {};
  readonly #nats: Promise<NatsUsers>;
  #setNats: (nats: NatsUsers) => void = () => {};

  constructor(base: Base, authority: LocalAuthority) {
    this.#base = base;
    this.#authority = authority;
    this.left = new Promise((resolve) => {
      this.#setLeft = resolve;
    });
    this.#nats = new Promise((resolve) => {
      this.#setNats = resolve;
    });
  }

  /** Goes to work; once. */
  begin(known: Known): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#cluster = known.cluster;
    this.#base.board.set(known.node ? 'joined' : 'starting');
    this.#base.lives.add(this.#live(known));
  }

  /** This manager signed a certificate: its holder may speak to NATS from now on. */
  async signed(identity: Identity): Promise<void> {
    const nats = await this.#nats;
    await nats.issued(identity);
  }

  /** Says that the silence that follows is a restart. */
  async farewell(): Promise<void> {
    await this.#wired?.farewell();
  }

  close(): void {
    this.#wired?.close();
    this.#closeTls();
  }

  /** Where clients reach registries. */
  registries(): readonly string[] {
    return this.#base.members.addressesOf({ role: 'service', name: 'registry' });
  }

  staticStates(): ReadonlyMap<string, string> {
    return this.#wired?.engine.tasks.staticStates() ?? new Map();
  }

  async #live({ cluster, node: known }: Known): Promise<void> {
    const { board, config, clock, log, members } = this.#base;
    const certificates = this.#certificates(cluster);
    let node = known;
    // Who is to join knows its cluster only then; a manager starts its control plane first.
    if (!cluster && !node) node = await this.#join(certificates, undefined, undefined);
    const clusterId = cluster?.clusterId ?? node?.clusterId;
    const advertise = cluster?.advertise ?? node?.advertise;
    if (clusterId === undefined || advertise === undefined) return;

    const wired = await wireNode(this.#base, {
      cluster,
      clusterId,
      nodeId: node?.nodeId,
      advertise,
      tls: this.#tls,
      onRevoked: (identities) => {
        if (cluster) void this.#nats.then((nats) => nats.revoked(identities));
      },
    });
    this.#wired = wired;
    if (cluster) {
      const registries = replicaAddresses(config, cluster.advertise, config.registryPort);
      members.seed({ role: 'service', name: 'registry' }, registries);
      this.#setNats(await startControlPlane(this.#base, cluster, this.#authority, wired));
      if (!node) node = await this.#join(certificates, cluster, undefined);
    }
    if (!node) return;
    if (node.leaving) return this.#leave(node, wired);

    const source = fileTls(join(config.stateDir, 'certs/node'), { clock, logger: log });
    this.#closeTls = () => source.close();
    this.#tls.become(source);
    board.set('joined', 'waiting for the control plane');
    const member = node;
    await wired.live(node.nodeId, { certificates, ...this.#renewing(cluster, node) }, () => {
      // The registry removes no manager: the control plane runs on it.
      assert(!cluster, 'a manager is not removed');
      this.#base.lives.add(this.#leave(member, wired));
    });
  }

  async #leave(node: NodeState, wired: NodeWiring): Promise<void> {
    const { board, files, log } = this.#base;
    log.warn({ nodeId: node.nodeId }, 'this node was removed from the cluster: all of Berth goes from this host');
    board.set('leaving', 'removed from the cluster: stopping all tasks');
    await files.saveNode({ ...node, leaving: true });
    await wired.leave();
    if (!this.#base.signal.aborted) this.#setLeft();
  }

  /** How its certificate is kept good: a manager signs for itself, others ask the registry, or rejoin with a token. */
  #renewing(cluster: ClusterState | undefined, node: NodeState): Omit<LiveOptions, 'certificates'> {
    const { config, files } = this.#base;
    const identity = { role: 'node', id: node.nodeId } as const;
    const sign = async (csr: Uint8Array): Promise<{ cert: string; ca: string }> => ({
      cert: await this.#authority.sign({ csr, identity, addresses: [node.advertise] }),
      ca: await this.#authority.caPem(),
    });
    return {
      ...(cluster && { sign }),
      token: {
        path: join(config.stateDir, 'join-token'),
        read: () => files.token(),
        remove: () => files.removeToken(),
      },
      firstToken: () => givenToken(config),
    };
  }

  #certificates(cluster: ClusterState | undefined): NodeCertificates {
    const { config, clock, rng, log, disk } = this.#base;
    const joinAddresses = cluster ? replicaAddresses(config, cluster.advertise, config.joinPort) : config.joinAddress;
    return new NodeCertificates({ store: new CertStore(disk, 'certs/node'), joinAddresses, clock, rng, logger: log });
  }

  /** Undefined only when the agent was told to stop meanwhile. */
  async #join(
    certificates: NodeCertificates,
    cluster: ClusterState | undefined,
    known: NodeState | undefined,
  ): Promise<NodeState | undefined> {
    const base = this.#base;
    const token = async () => (cluster ? ((await base.files.token()) ?? '') : tokenOf(base.config));
    const request = async () => {
      const address = cluster?.advertise ?? known?.advertise ?? (await this.#ownAddress());
      return {
        node: await base.describe(address, cluster),
        hello: helloOf(cluster?.clusterId ?? '', softwareVersion),
      };
    };
    const flow = { ...base.ports, port: certificates, files: base.files, board: base.board };
    const newcomer = !cluster && !known;
    const joined = await joinCluster({ ...flow, newcomer }, token, request, base.signal);
    if (!joined) return undefined;
    await base.members.update(joined.response.members);
    // It is of no use to this host any more, but of much to whoever reads its disk.
    const { joinTokenFile, stateDir } = base.config;
    if (!cluster && joinTokenFile.startsWith(`${stateDir}/`)) rmSync(joinTokenFile, { force: true });
    return joined.node;
  }

  async #ownAddress(): Promise<string> {
    const { advertise, joinAddress } = this.#base.config;
    const [peer] = joinAddress;
    return advertise !== '' || peer === undefined ? advertise : ownAddressTowards(peer);
  }
}

function tokenOf({ joinToken, joinTokenFile }: Config): string {
  if (joinToken !== '') return joinToken;
  if (existsSync(joinTokenFile)) return readFileSync(joinTokenFile, 'utf8').trim();
  throw new BerthError(
    'InvalidArgument',
    `there is no join token at ${joinTokenFile}. Remedy: write one there that \`berth cluster token\` gives`,
    { reason: 'NO_TOKEN' },
  );
}

/** The token that the agent was started with, if there still is one. */
function givenToken(config: Config): string | undefined {
  if (config.joinToken !== '') return config.joinToken;
  return config.joinTokenFile !== '' && existsSync(config.joinTokenFile) ? tokenOf(config) : undefined;
}
