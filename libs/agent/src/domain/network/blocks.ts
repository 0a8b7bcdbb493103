import { isDeclaredAlike } from '@berth/workload';
import type { AdoptedTask, EngineNetwork, NetworkJoin, WantedNetwork } from '../task-network.ts';
import type { Bridge } from './bridges.ts';
import { bridgeDevice, gatewayOf, pickAddress } from './bridges.ts';
import type { CarriedNetwork } from './kernel.ts';
import type { Peer } from './peers.ts';

/** A block of a network that this node holds. */
export interface Block extends Bridge {
  readonly stackId: string;
  /** Network's name in the stack. */
  readonly network: string;
  /** Engine's network. */
  readonly dockerNetwork: string;
  /** Options that the file gives the network's driver. */
  readonly driverOpts: Readonly<Record<string, string>>;
  readonly backend: string;
  readonly vni: number;
  /** The cluster's address pool in CIDR form. */
  readonly pool: string;
  /** The lease by which this node holds it. */
  readonly leaseId: string;
}

/** Docker's own option for the MTU of a bridge's containers. */
const mtuOption = 'com.docker.network.driver.mtu';

/** What the labels of an engine network say, from which a restarted agent reads its blocks back. */
export const blockLabels = {
  networkId: 'berth.network',
  network: 'berth.network-name',
  stackId: 'berth.stack',
  /** `true` or `false`. Docker's own `Internal` would leave containers without a route to the network's other blocks. */
  internal: 'berth.internal',
  /** JSON; absent where there are none. */
  driverOpts: 'berth.driver-opts',
  backend: 'berth.backend',
  vni: 'berth.vni',
  pool: 'berth.pool',
  lease: 'berth.lease',
} as const;

export interface LeasedBlock {
  readonly networkId: string;
  readonly stackId: string;
  readonly network: string;
  readonly block: string;
  readonly internal: boolean;
  /** Default: none. */
  readonly driverOpts?: Readonly<Record<string, string>>;
  /** Default: vxlan. */
  readonly backend?: string;
  readonly vni?: number;
  readonly pool?: string;
  readonly leaseId?: string;
}

/**
 * Of a container's networks Docker makes the one whose name sorts first its way out; a network with no way out must come
 * last.
 */
function dockerNetworkName(lease: LeasedBlock, device: string): string {
  const kind = lease.internal ? 'private' : 'net';
  return `berth-${kind}-${lease.networkId.slice(0, 8)}-${device.slice(2)}`;
}

export function blockOf(lease: LeasedBlock): Block {
  const device = bridgeDevice(lease.block);
  return {
    ...lease,
    driverOpts: lease.driverOpts ?? {},
    backend: lease.backend || 'vxlan',
    vni: lease.vni ?? 0,
    pool: lease.pool ?? '',
    leaseId: lease.leaseId ?? '',
    device,
    gateway: gatewayOf(lease.block),
    dockerNetwork: dockerNetworkName(lease, device),
  };
}

/** Labels of a block's engine network. */
export function labelsOf(block: Block): Record<string, string> {
  return {
    [blockLabels.networkId]: block.networkId,
    [blockLabels.network]: block.network,
    [blockLabels.stackId]: block.stackId,
    [blockLabels.internal]: String(block.internal),
    [blockLabels.backend]: block.backend,
    [blockLabels.vni]: String(block.vni),
    [blockLabels.pool]: block.pool,
    [blockLabels.lease]: block.leaseId,
    ...(Object.keys(block.driverOpts).length > 0 ? { [blockLabels.driverOpts]: JSON.stringify(block.driverOpts) } : {}),
  };
}

/** Options of the engine's driver for a block: what the file gives it, and the MTU if that does not. */
export function engineOptionsOf(block: Block, mtu: number): Record<string, string> {
  const given = Object.entries(block.driverOpts).filter(([option]) => !option.startsWith('berth.'));
  return { [mtuOption]: String(mtu), ...Object.fromEntries(given) };
}

/** Reads a block back from an engine network; undefined if its labels or device are not as Berth writes them. */
export function blockOfEngineNetwork(found: EngineNetwork): Block | undefined {
  const networkId = found.labels[blockLabels.networkId];
  const network = found.labels[blockLabels.network];
  const stackId = found.labels[blockLabels.stackId];
  if (networkId === undefined || network === undefined || stackId === undefined) return undefined;
  const block = blockOf({
    networkId,
    stackId,
    network,
    block: found.subnet,
    internal: found.labels[blockLabels.internal] === 'true',
    driverOpts: JSON.parse(found.labels[blockLabels.driverOpts] ?? '{}') as Record<string, string>,
    backend: found.labels[blockLabels.backend] ?? '',
    vni: Number(found.labels[blockLabels.vni] ?? 0),
    pool: found.labels[blockLabels.pool] ?? '',
    leaseId: found.labels[blockLabels.lease] ?? '',
  });
  return block.device === found.bridge ? block : undefined;
}

function nameOf({ stackId, network }: Pick<Block, 'stackId' | 'network'>): string {
  return `${stackId}/${network}`;
}

/** A place of a container: its address in a block. */
export interface Place {
  readonly ip: string;
  readonly block: Block;
}

/** A container on several networks. */
export interface Membership {
  /** Where its default route leads. */
  readonly wayOut: Place;
  readonly others: readonly Place[];
}

interface HeldBlock {
  readonly block: Block;
  /** Address → task. */
  readonly used: Map<string, string>;
  lastPicked: string | undefined;
}

/**
 * Blocks of this node and who holds which address of them. Pure bookkeeping; indexed by network and by task.
 *
 * A stack that drops a network and declares another one under its name has, until its rollout has come to an end, two
 * networks of one name. New tasks join the one that the network-manager leased a block of last, and no other. What remains:
 * a task of the older version that is started anew then joins the newer network, for the older one takes no more blocks.
 */
export class BlockTable {
  readonly #byBlock = new Map<string, HeldBlock>();
  readonly #joinsOfTask = new Map<string, NetworkJoin[]>();
  /** Which network has a name of a stack, by the last lease; absent of names that nothing was leased of since the start. */
  readonly #current = new Map<string, string>();

  get blocks(): Block[] {
    return [...this.#byBlock.values()].map((held) => held.block);
  }

  has(block: string): boolean {
    return this.#byBlock.has(block);
  }

  addBlock(block: Block): void {
    if (!this.#byBlock.has(block.block))
      this.#byBlock.set(block.block, { block, used: new Map(), lastPicked: undefined });
  }

  /** A block that was leased just now: its network has the name from now on. */
  addLeased(block: Block): void {
    this.addBlock(block);
    this.#current.set(nameOf(block), block.networkId);
  }

  removeBlock(block: string): void {
    const held = this.#byBlock.get(block)?.block;
    this.#byBlock.delete(block);
    if (held && this.blocksOf(held.stackId, held.network).length === 0) this.#current.delete(nameOf(held));
  }

  /** Blocks held of a stack's network. */
  blocksOf(stackId: string, network: string): Block[] {
    return this.blocks.filter((block) => block.stackId === stackId && block.network === network);
  }

  /** Blocks in which no task holds an address. */
  unused(): Block[] {
    return [...this.#byBlock.values()].filter((held) => held.used.size === 0).map((held) => held.block);
  }

  isUnused(block: string): boolean {
    return this.#byBlock.get(block)?.used.size === 0;
  }

  /** Places of a task; empty if it has none. */
  joinsOf(taskId: string): readonly NetworkJoin[] {
    return this.#joinsOfTask.get(taskId) ?? [];
  }

  /** Blocks of a stack's network without a free address: of all networks of that name. */
  fullBlocks(stackId: string, network: string): string[] {
    return this.blocksOf(stackId, network).flatMap(({ block }) => (this.#free(block) === undefined ? [block] : []));
  }

  /** Could a new task join? See `join`. */
  hasRoom(stackId: string, wanted: WantedNetwork, told?: string): boolean {
    return this.#open(stackId, wanted, told).some(({ block }) => this.#free(block) !== undefined);
  }

  /**
   * The task's place on a network: the one it has, or a new one; undefined when a block has to be leased first: all blocks
   * held are full, or of a network that no longer has the name or is not as the task's stack declares it. `told` is the id
   * of the network that a lease for this task was answered with: that one is joined as it is.
   */
  join(taskId: string, stackId: string, wanted: WantedNetwork, told?: string): NetworkJoin | undefined {
    const { network } = wanted;
    const joins = this.#joinsOfTask.get(taskId) ?? [];
    const held = joins.find((join) => join.network === network);
    if (held) return held;
    for (const block of this.#open(stackId, wanted, told)) {
      const entry = this.#byBlock.get(block.block);
      const ip = this.#free(block.block);
      if (!entry || ip === undefined) continue;
      entry.used.set(ip, taskId);
      entry.lastPicked = ip;
      const join: NetworkJoin = { networkId: block.networkId, network, dockerNetwork: block.dockerNetwork, ip };
      this.#joinsOfTask.set(taskId, [...joins, join]);
      return join;
    }
    return undefined;
  }

  #free(block: string): string | undefined {
    const held = this.#byBlock.get(block);
    return held && pickAddress(block, new Set(held.used.keys()), held.lastPicked);
  }

  /** Blocks that a new task may join. After a start with blocks of several networks of the name, none until one is leased. */
  #open(stackId: string, { network, spec }: WantedNetwork, told: string | undefined): Block[] {
    const blocks = this.blocksOf(stackId, network);
    const ids = new Set(blocks.map((block) => block.networkId));
    const current = this.#current.get(nameOf({ stackId, network })) ?? (ids.size === 1 ? [...ids][0] : undefined);
    return blocks.filter(
      (block) => block.networkId === current && (block.networkId === told || isDeclaredAlike(block, spec)),
    );
  }

  /** Takes over the places that a running container has; those on networks that are gone are left out. */
  adopt(task: AdoptedTask): void {
    const byDockerNetwork = new Map([...this.#byBlock.values()].map((held) => [held.block.dockerNetwork, held]));
    const joins = task.joins.filter((join) => {
      const held = byDockerNetwork.get(join.dockerNetwork);
      held?.used.set(join.ip, task.taskId);
      return held !== undefined;
    });
    this.#joinsOfTask.set(task.taskId, joins);
  }

  /** Frees the task's addresses. */
  release(taskId: string): void {
    const joins = new Set(this.joinsOf(taskId).map((join) => join.ip));
    this.#joinsOfTask.delete(taskId);
    for (const held of this.#byBlock.values()) {
      for (const ip of joins) if (held.used.get(ip) === taskId) held.used.delete(ip);
    }
  }

  /** Containers that are on several networks. */
  memberships(): Membership[] {
    const byDockerNetwork = new Map(this.blocks.map((block) => [block.dockerNetwork, block]));
    return [...this.#joinsOfTask.values()].flatMap((joins) => {
      const [wayOut, ...others] = joins
        .flatMap(({ ip, dockerNetwork }) => {
          const block = byDockerNetwork.get(dockerNetwork);
          return block ? [{ ip, block }] : [];
        })
        // As Docker chooses the way out; see dockerNetworkName.
        .sort((a, b) => (a.block.dockerNetwork < b.block.dockerNetwork ? -1 : 1));
      return wayOut && others.length > 0 ? [{ wayOut, others }] : [];
    });
  }

  /** Networks of the blocks, with what is known of other hosts. */
  networks(peersOfNetwork: (networkId: string) => readonly Peer[] | undefined): CarriedNetwork[] {
    return [...Map.groupBy(this.blocks, (block) => block.networkId).values()].flatMap((blocks) => {
      const [first] = blocks.sort((a, b) => (a.block < b.block ? -1 : 1));
      if (!first) return [];
      const { networkId, backend, vni, gateway } = first;
      return [{ networkId, backend, vni, gateway, peers: peersOfNetwork(networkId) }];
    });
  }

  /** Networks that tasks of this node are on. */
  networkIds(): Set<string> {
    return new Set(this.blocks.map((block) => block.networkId));
  }
}
