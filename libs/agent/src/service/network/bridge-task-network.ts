import type { Lease, Network, NetworkServiceClient } from '@berth/contracts/network';
import type { CallExtra, Clock, Logger } from '@berth/kernel';
import { assert, BerthError, isBerthError } from '@berth/kernel';
import type { DnsTable } from '../../domain/dns/dns-table.ts';
import type { Block } from '../../domain/network/blocks.ts';
import { BlockTable, blockOf, blockOfEngineNetwork, engineOptionsOf, labelsOf } from '../../domain/network/blocks.ts';
import { networkMtu } from '../../domain/network/kernel.ts';
import type {
  AdoptedTask,
  NetworkJoin,
  PreparedNetworks,
  TaskNetworkRequest,
  WantedNetwork,
} from '../../domain/task-network.ts';
import type { EngineNetworks, TaskNetwork } from '../task-network.ts';
import { Wake } from '../wake.ts';
import type { HostAddress, HostNetwork } from './host-network.ts';
import type { NameServer } from './ports.ts';

/** How often the host is compared with what it should be: what somebody removed by hand is back within this time. */
const healIntervalMs = 4_000;
/** And how often the engine's networks are: a look that costs the engine more than us. */
const engineIntervalMs = 15_000;
/** Changes that come together are programmed together. */
const gatherMs = 20;
const releaseRetryMs = 1_000;
/** How often the leases are compared with the blocks: a lease whose answer was lost is found by it, and handed back. */
const compareIntervalMs = 60_000;
/** Who wants a block of the same network waits behind a lease; a silent network-manager must not hold it up for long. */
const leaseTimeoutMs = 3_000;
const dnsOptions = ['timeout:1', 'attempts:5'];

export interface BridgeTaskNetworkOptions {
  readonly client: Pick<NetworkServiceClient<CallExtra>, 'leaseBlock' | 'releaseBlock' | 'listLeases'>;
  readonly engine: EngineNetworks;
  readonly host: HostNetwork;
  readonly address: HostAddress;
  readonly nameServer: NameServer;
  readonly dns: DnsTable;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when the set of networks that this host carries has changed. */
  readonly onNetworks: (networkIds: ReadonlySet<string>) => void;
}

/**
 * A Docker bridge per leased block. All steps that change the host go one after the other; what they want of the host
 * is data (`BlockTable`, `desiredFirewall`), so that a step that failed half way is simply wanted again.
 */
export class BridgeTaskNetwork implements TaskNetwork {
  readonly #options: BridgeTaskNetworkOptions;
  readonly #table = new BlockTable();
  /** Blocks whose bridge is gone from the host, to be handed back. */
  readonly #toRelease = new Map<string, Block>();
  /** Networks without tasks that others are still connected to. */
  readonly #inUse = new Set<string>();
  #queue: Promise<void> = Promise.resolve();
  #adopted = false;
  /** Blocks or memberships have changed since the host was last brought to match. */
  #changed = false;
  /** Something about other hosts has changed since then. */
  #peersChanged = false;
  /** Engine networks known to be there. */
  readonly #made = new Set<string>();
  readonly #hostWork: Wake;
  readonly #leaseWork: Wake;
  /** Leases and releases of a network that go on, by stack and name: one after the other. */
  readonly #exchanges = new Map<string, Promise<void>>();
  /** When leases and blocks are compared next. */
  #compareAtMs = 0;

  constructor(options: BridgeTaskNetworkOptions) {
    this.#options = options;
    this.#hostWork = new Wake(options.clock);
    this.#leaseWork = new Wake(options.clock);
  }

  /** Networks that this host carries. */
  networkIds(): ReadonlySet<string> {
    return this.#table.networkIds();
  }

  /** Peers or members are not what they were: the host is brought to match soon. */
  peersChanged(): void {
    this.#peersChanged = true;
    this.#hostWork.notify();
  }

  adopt(tasks: readonly AdoptedTask[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const found of await this.#options.engine.list()) {
        const block = blockOfEngineNetwork(found);
        if (block) this.#table.addBlock(block);
        if (block) this.#made.add(block.dockerNetwork);
        else this.#options.log.warn({ network: found.name }, 'network carries our label but is not ours: left alone');
      }
      for (const task of tasks) {
        this.#table.adopt(task);
        this.#setDnsClient(this.#table.joinsOf(task.taskId));
      }
      await this.#removeUnused();
      await this.#makeHostMatch();
      this.#adopted = true;
      this.#options.onNetworks(this.networkIds());
    });
  }

  async prepare(request: TaskNetworkRequest, signal: AbortSignal): Promise<PreparedNetworks> {
    // A restart in place needs nobody.
    if (!this.#changed && this.#hasAll(request) && !this.#unserved(request)) return this.#prepared(request);
    /** Networks that leases for this task were answered with, by name: their ids. */
    const told = new Map<string, string>();
    for (;;) {
      const missing = await this.#inTurn(async () => {
        assert(this.#adopted, 'adopt comes before prepare');
        const missing = request.attachments.find((wanted) => !this.#join(request, wanted, told.get(wanted.network)));
        if (missing === undefined && (this.#changed || this.#unserved(request))) await this.#makeHostMatch();
        const unserved = missing === undefined && this.#unserved(request);
        if (unserved) throw unserved;
        return missing;
      });
      if (missing === undefined) return this.#prepared(request);
      const networkId = await this.#takeBlock(request.stackId, missing, told.get(missing.network), signal);
      if (networkId !== undefined) told.set(missing.network, networkId);
    }
  }

  #hasAll({ taskId, attachments }: TaskNetworkRequest): boolean {
    const networks = new Set(this.#table.joinsOf(taskId).map((join) => join.network));
    return this.#adopted && attachments.every(({ network }) => networks.has(network));
  }

  /** What a task that has a place on all its networks is started with. */
  #prepared({ taskId, attachments }: TaskNetworkRequest): PreparedNetworks {
    const held = this.#table.joinsOf(taskId);
    const joins = attachments.flatMap(({ network }) => held.find((join) => join.network === network) ?? []);
    this.#setDnsClient(joins);
    const gateway = this.#gatewayOf(joins);
    return { joins, dnsServers: gateway === undefined ? [] : [gateway], dnsOptions };
  }

  /** Why a task that has its places would have no name server. */
  #unserved({ taskId }: TaskNetworkRequest): BerthError | undefined {
    const gateway = this.#gatewayOf(this.#table.joinsOf(taskId));
    return gateway === undefined ? undefined : this.#options.host.unserved(gateway);
  }

  #gatewayOf([first]: readonly NetworkJoin[]): string | undefined {
    return this.#table.blocks.find((block) => block.dockerNetwork === first?.dockerNetwork)?.gateway;
  }

  release(taskId: string): Promise<void> {
    return this.#inTurn(async () => {
      const joins = this.#table.joinsOf(taskId);
      this.#options.dns.removeClient(joins.map((join) => join.ip));
      this.#table.release(taskId);
      // What let a container into several networks must be gone before its address is another's.
      if (joins.length > 1) this.#changed = true;
      await this.#removeUnused();
      if (this.#changed) await this.#makeHostMatch();
    });
  }

  /** Resolves when the host has been looked at and holds what the blocks ask for: nothing, once the last is gone. */
  async settled(signal: AbortSignal): Promise<void> {
    const look = (): Promise<void> => {
      this.#options.host.doubt();
      return this.#match();
    };
    while (!signal.aborted && !(await this.#attempt(signal, 'host networks do not match yet', look))) {
      await this.#options.clock.sleep(releaseRetryMs, signal);
    }
  }

  /** Heals the host and hands blocks back, until the signal aborts. Healing needs no control plane, and waits for none. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#keepHost(signal), this.#keepEngine(signal), this.#keepLeases(signal)]);
  }

  async #keepHost(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let healAtMs = clock.monotonic() + healIntervalMs;
    while (!signal.aborted) {
      let failed = false;
      if (this.#adopted && this.#peersChanged) {
        await clock.sleep(gatherMs, signal);
        this.#peersChanged = false;
        failed = !(await this.#attempt(signal, 'ways to other hosts do not match yet', () => this.#match()));
      }
      if (this.#adopted && clock.monotonic() >= healAtMs) {
        healAtMs = clock.monotonic() + healIntervalMs;
        await this.#attempt(signal, 'host networks do not match yet', () => this.#heal());
      }
      const news = this.#adopted && this.#peersChanged;
      this.#peersChanged ||= failed;
      const untilMs = healAtMs - clock.monotonic();
      if (!news) await this.#hostWork.wait(failed ? Math.min(untilMs, releaseRetryMs) : untilMs, signal);
    }
  }

  /** What needs the engine is apart from what heals the host: an engine that is away or hangs must not hold that up. */
  async #keepEngine(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let lookAtMs = clock.monotonic() + engineIntervalMs;
    while (!signal.aborted) {
      await clock.sleep(healIntervalMs, signal);
      if (signal.aborted) return;
      if (!this.#adopted) continue;
      if (clock.monotonic() >= lookAtMs) {
        lookAtMs = clock.monotonic() + engineIntervalMs;
        await this.#tried(signal, 'networks of the engine not compared yet', () => this.#lookAtEngine());
      }
      const tidy = async (): Promise<void> => {
        await this.#removeUnused();
        if (this.#changed) await this.#makeHostMatch();
      };
      if (this.#changed || this.#table.unused().length > 0)
        await this.#attempt(signal, 'networks of the engine do not match yet', tidy);
    }
  }

  /** Networks that somebody removed are made again. */
  async #lookAtEngine(): Promise<void> {
    const known = [...this.#made];
    const found = new Set((await this.#options.engine.list()).map(({ name }) => name));
    for (const name of known) {
      if (found.has(name)) continue;
      this.#made.delete(name);
      this.#changed = true;
    }
  }

  async #keepLeases(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const due = (): boolean => this.#adopted && clock.monotonic() >= this.#compareAtMs;
      if (due()) {
        this.#compareAtMs = Number.POSITIVE_INFINITY;
        const compared = await this.#tried(signal, 'leases not compared yet', () => this.#compareLeases(signal));
        this.#compareLeasesIn(compared ? compareIntervalMs : releaseRetryMs);
      }
      const done = await this.#releaseBlocks(signal);
      const ms = done && this.#adopted ? this.#compareAtMs - clock.monotonic() : releaseRetryMs;
      await this.#leaseWork.wait(ms, signal);
    }
  }

  #compareLeasesIn(ms: number): void {
    this.#compareAtMs = Math.min(this.#compareAtMs, this.#options.clock.monotonic() + ms);
  }

  /** One step in turn; false when it is to be tried again. */
  async #attempt(signal: AbortSignal, what: string, step: () => Promise<void>): Promise<boolean> {
    return this.#tried(signal, what, () => this.#inTurn(step));
  }

  async #tried(signal: AbortSignal, what: string, step: () => Promise<void>): Promise<boolean> {
    try {
      await step();
      return true;
    } catch (error) {
      if (!isBerthError(error)) throw error;
      if (!signal.aborted) this.#options.log.warn({ err: error }, `${what}; trying again`);
      return false;
    }
  }

  /** The task's place on a network; undefined while a block has to be leased for it. */
  #join(
    { stackId, taskId }: TaskNetworkRequest,
    wanted: WantedNetwork,
    told: string | undefined,
  ): NetworkJoin | undefined {
    const before = this.#table.joinsOf(taskId).length;
    const join = this.#table.join(taskId, stackId, wanted, told);
    const joins = this.#table.joinsOf(taskId).length;
    if (joins > 1 && joins > before) this.#changed = true;
    return join;
  }

  /** One more block of a network, unless somebody else has got one meanwhile; answers the id of the network leased from. */
  #takeBlock(
    stackId: string,
    wanted: WantedNetwork,
    told: string | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { network } = wanted;
    return this.#exchange(stackId, network, async () => {
      if (this.#table.hasRoom(stackId, wanted, told)) return undefined;
      // A release whose answer was lost may still be under way: it must not take away what is leased now.
      for (const block of [...this.#toRelease.values()]) {
        if (block.stackId === stackId && block.network === network) await this.#release(block, signal);
      }
      const full = this.#table.fullBlocks(stackId, network);
      const block = await this.#lease(stackId, network, full, signal);
      await this.#inTurn(async () => {
        this.#checkUsable(block);
        this.#toRelease.delete(block.block);
        this.#table.addLeased(block);
        this.#changed = true;
        this.#options.onNetworks(this.networkIds());
      });
      return block.networkId;
    });
  }

  /** Asked again at once, the network-manager would say the same: the task waits, and says for what. */
  #checkUsable({ block, networkId }: Block): void {
    const held = this.#table.blocks.find((each) => each.block === block);
    if (!held || held.networkId === networkId) return;
    throw new BerthError(
      'Conflict',
      `block ${block} was leased for network ${networkId}, but tasks of network ${held.networkId} use it on this host; ` +
        'drain the host and activate it',
      { reason: 'BLOCK_IN_USE' },
    );
  }

  async #lease(stackId: string, network: string, fullBlocks: string[], signal: AbortSignal): Promise<Block> {
    const { client, address } = this.#options;
    const request = { stackId, network, fullBlocks, ...address };
    const answer = await client.leaseBlock(request, { signal, timeoutMs: leaseTimeoutMs }).catch((error: unknown) => {
      // It may have been leased all the same, and the task that wanted it may never come again.
      this.#compareLeasesIn(leaseTimeoutMs);
      this.#leaseWork.notify();
      throw error;
    });
    if (!answer.network || !answer.lease || fullBlocks.includes(answer.lease.block)) {
      throw new BerthError('Internal', `network-manager gave no new block of network ${network}`, {
        reason: 'BAD_LEASE',
      });
    }
    return leased(answer.lease, { ...answer.network, stackId, name: network });
  }

  /** Makes engine networks match the blocks, then the host. */
  async #makeHostMatch(): Promise<void> {
    for (const block of this.#table.blocks) {
      if (this.#made.has(block.dockerNetwork)) continue;
      const mtu = networkMtu(block.backend, await this.#options.host.link());
      await this.#options.engine.create({
        name: block.dockerNetwork,
        bridge: block.device,
        subnet: block.block,
        gateway: block.gateway,
        labels: labelsOf(block),
        options: engineOptionsOf(block, mtu),
      });
      this.#made.add(block.dockerNetwork);
    }
    await this.#match();
    this.#changed = false;
  }

  #match(): Promise<void> {
    return this.#options.host.match(this.#table);
  }

  /** Looks at the host, whatever was programmed. With no block there is nothing to heal. */
  async #heal(): Promise<void> {
    if (this.#table.blocks.length === 0 && !this.#changed) return;
    this.#options.host.doubt();
    await this.#match();
  }

  /** Takes blocks without tasks off the host; they are handed back in the background. One that a container of somebody
   *  else is connected to stays until that is gone: it must not hold up the end of any task. */
  async #removeUnused(): Promise<void> {
    let removed = 0;
    for (const block of this.#table.unused()) {
      if (!(await this.#removeNetwork(block.dockerNetwork))) continue;
      await this.#options.nameServer.close(block.gateway);
      this.#made.delete(block.dockerNetwork);
      this.#table.removeBlock(block.block);
      this.#toRelease.set(block.block, block);
      removed += 1;
    }
    if (removed === 0) return;
    // With a bridge the kernel drops the routes that name its address.
    this.#options.host.doubt();
    await this.#match();
    this.#options.onNetworks(this.networkIds());
    this.#leaseWork.notify();
  }

  /** False while it is in use. */
  async #removeNetwork(name: string): Promise<boolean> {
    try {
      await this.#options.engine.remove(name);
      this.#inUse.delete(name);
      return true;
    } catch (error) {
      if (!isBerthError(error, 'Conflict')) throw error;
      if (!this.#inUse.has(name))
        this.#options.log.warn({ network: name, error: error.message }, 'network stays for now');
      this.#inUse.add(name);
      return false;
    }
  }

  /** Blocks that the network-manager thinks we hold, but of which nothing is on the host, go back; those whose lease says
   *  another address or port than this host has now are leased again. Blocks that we hold without a lease are told of. */
  async #compareLeases(signal: AbortSignal): Promise<void> {
    const { client, address } = this.#options;
    const held = this.#table.blocks;
    const { leases, networks } = await client.listLeases({}, { signal, timeoutMs: leaseTimeoutMs });
    const leaseIds = new Set(leases.map(({ id }) => id));
    for (const { block, network, leaseId } of held) {
      if (leaseIds.has(leaseId) || !this.#table.has(block)) continue;
      this.#options.log.error(
        { block, network },
        'a block is used that is not leased to this host; drain and activate it',
      );
    }
    const networkById = new Map(networks.map((network) => [network.id, network]));
    for (const lease of leases) {
      const network = networkById.get(lease.networkId);
      if (!network) continue;
      const moved = lease.address !== address.address || lease.vxlanPort !== address.vxlanPort;
      if (!this.#table.has(lease.block)) this.#toRelease.set(lease.block, leased(lease, network));
      else if (moved && !network.deleting) {
        const others = leases.filter((each) => each.networkId === network.id && each !== lease);
        await this.#lease(
          network.stackId,
          network.name,
          others.map(({ block }) => block),
          signal,
        );
      }
    }
  }

  /** True when nothing is left to hand back. */
  async #releaseBlocks(signal: AbortSignal): Promise<boolean> {
    const releases = [...this.#toRelease.values()].map((block) =>
      this.#tried(signal, `block ${block.block} not handed back yet`, () =>
        this.#exchange(block.stackId, block.network, () => this.#release(block, signal)),
      ),
    );
    await Promise.all(releases);
    return this.#toRelease.size === 0;
  }

  /** Of what is no longer this host's: a block that was leased again stays. */
  async #release({ networkId, block, leaseId }: Block, signal: AbortSignal): Promise<void> {
    if (!this.#toRelease.has(block) || this.#table.has(block)) return;
    await this.#options.client.releaseBlock({ networkId, block, leaseId }, { signal, timeoutMs: leaseTimeoutMs });
    this.#toRelease.delete(block);
  }

  #exchange<T>(stackId: string, network: string, step: () => Promise<T>): Promise<T> {
    const key = `${stackId}/${network}`;
    const before = this.#exchanges.get(key) ?? Promise.resolve();
    const result = before.then(step);
    const ended = result
      .catch(() => undefined)
      .then(() => {
        if (this.#exchanges.get(key) === ended) this.#exchanges.delete(key);
      });
    this.#exchanges.set(key, ended);
    return result;
  }

  #setDnsClient(joins: readonly NetworkJoin[]): void {
    this.#options.dns.setClient(
      joins.map((join) => join.ip),
      joins.map((join) => join.networkId),
    );
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(step);
    this.#queue = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}

/** A lease as a block of this node. */
function leased(lease: Lease, network: Network): Block {
  const { id: networkId, stackId, name, internal, driverOpts, backend, vni, pool } = network;
  return blockOf({
    networkId,
    stackId,
    network: name,
    block: lease.block,
    internal,
    driverOpts,
    backend,
    vni,
    pool,
    leaseId: lease.id,
  });
}
