import type { NetworkServiceClient } from '@berth/contracts/network';
import type { CallExtra, Clock, Logger } from '@berth/kernel';
import { assert, BerthError, isBerthError } from '@berth/kernel';
import type { DnsTable } from '../../domain/dns/dns-table.ts';
import type { Block } from '../../domain/network/blocks.ts';
import { BlockTable, blockOf, blockOfEngineNetwork, labelsOf } from '../../domain/network/blocks.ts';
import { desiredFirewall, diffFirewall } from '../../domain/network/firewall.ts';
import type { AdoptedTask, NetworkJoin, PreparedNetworks, TaskNetworkRequest } from '../../domain/task-network.ts';
import type { EngineNetworks, TaskNetwork } from '../task-network.ts';
import type { Firewall, NameServer } from './ports.ts';

/** How often the host is compared with what it should be: what somebody removed by hand is back within this time. */
const healIntervalMs = 5_000;
const releaseRetryMs = 1_000;
/** Others wait in turn behind a lease; a silent network-manager must not hold them up for long. */
const leaseTimeoutMs = 3_000;
const dnsOptions = ['timeout:1', 'attempts:5'];

export interface BridgeTaskNetworkOptions {
  readonly client: Pick<NetworkServiceClient<CallExtra>, 'leaseBlock' | 'releaseBlock' | 'listLeases'>;
  readonly engine: EngineNetworks;
  readonly firewall: Firewall;
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
  /** Blocks were added since the host was last brought to match. */
  #changed = false;
  #wake: (() => void) | undefined;

  constructor(options: BridgeTaskNetworkOptions) {
    this.#options = options;
  }

  /** Networks that this host carries. */
  networkIds(): ReadonlySet<string> {
    return this.#table.networkIds();
  }

  adopt(tasks: readonly AdoptedTask[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const found of await this.#options.engine.list()) {
        const block = blockOfEngineNetwork(found);
        if (block) this.#table.addBlock(block);
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

  prepare(request: TaskNetworkRequest, signal: AbortSignal): Promise<PreparedNetworks> {
    // A restart in place needs nobody: it must not queue behind leases that wait for a network-manager.
    if (!this.#changed && this.#hasAll(request)) return Promise.resolve(this.#prepared(request));
    return this.#inTurn(async () => {
      assert(this.#adopted, 'adopt comes before prepare');
      for (const { network } of request.attachments) await this.#join(request, network, signal);
      if (this.#changed) await this.#makeHostMatch();
      return this.#prepared(request);
    });
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
    const first = this.#table.blocks.find((block) => block.dockerNetwork === joins[0]?.dockerNetwork);
    return { joins, dnsServers: first ? [first.gateway] : [], dnsOptions };
  }

  release(taskId: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#options.dns.removeClient(this.#table.joinsOf(taskId).map((join) => join.ip));
      this.#table.release(taskId);
      await this.#removeUnused();
    });
  }

  /** Heals the host and hands blocks back, until the signal aborts. Healing needs no control plane. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let compared = false;
    let healAtMs = clock.monotonic() + healIntervalMs;
    while (!signal.aborted) {
      if (this.#adopted && clock.monotonic() >= healAtMs) {
        healAtMs = clock.monotonic() + healIntervalMs;
        await this.#attempt(signal, 'host networks do not match yet', async () => {
          await this.#removeUnused();
          await this.#makeHostMatch();
        });
      }
      if (this.#adopted && !compared) {
        compared = await this.#attempt(signal, 'leases not compared yet', () => this.#compareLeases(signal));
      }
      const released = await this.#releaseBlocks(signal);
      const retryMs = released && compared ? Number.POSITIVE_INFINITY : releaseRetryMs;
      await this.#sleep(Math.max(0, Math.min(retryMs, healAtMs - clock.monotonic())), signal);
    }
  }

  /** One step in turn; false when it is to be tried again. */
  async #attempt(signal: AbortSignal, what: string, step: () => Promise<void>): Promise<boolean> {
    try {
      await this.#inTurn(step);
      return true;
    } catch (error) {
      if (!isBerthError(error)) throw error;
      if (!signal.aborted) this.#options.log.warn({ err: error }, `${what}; trying again`);
      return false;
    }
  }

  async #join(request: TaskNetworkRequest, network: string, signal: AbortSignal): Promise<NetworkJoin> {
    for (;;) {
      const join = this.#table.join(request.taskId, request.stackId, network);
      if (join) return join;
      const full = this.#table.blocksOf(request.stackId, network).map((block) => block.block);
      const answer = await this.#options.client.leaseBlock(
        { stackId: request.stackId, network, fullBlocks: full },
        { signal, timeoutMs: leaseTimeoutMs },
      );
      if (!answer.network || !answer.lease || full.includes(answer.lease.block)) {
        throw new BerthError('Internal', `network-manager gave no new block of network ${network}`, {
          reason: 'BAD_LEASE',
        });
      }
      const block = blockOf({
        networkId: answer.network.id,
        stackId: request.stackId,
        network,
        block: answer.lease.block,
        internal: answer.network.internal,
        driverOpts: answer.network.driverOpts,
      });
      this.#toRelease.delete(block.block);
      this.#table.addBlock(block);
      this.#changed = true;
      this.#options.onNetworks(this.networkIds());
    }
  }

  /** Makes engine networks, packet filter and listeners match the blocks. */
  async #makeHostMatch(): Promise<void> {
    const there = new Set((await this.#options.engine.list()).map((network) => network.name));
    for (const block of this.#table.blocks) {
      if (there.has(block.dockerNetwork)) continue;
      await this.#options.engine.create({
        name: block.dockerNetwork,
        bridge: block.device,
        subnet: block.block,
        gateway: block.gateway,
        labels: labelsOf(block),
        options: block.driverOpts,
      });
    }
    await this.#heal();
    this.#changed = false;
  }

  /** Brings packet filter and DNS listeners to what the blocks ask for. */
  async #heal(): Promise<void> {
    const { firewall, nameServer } = this.#options;
    const change = diffFirewall(await firewall.read(), desiredFirewall(this.#table.blocks));
    if (change) await firewall.apply(change);
    const gateways = new Set(this.#table.blocks.map((block) => block.gateway));
    for (const address of nameServer.addresses) if (!gateways.has(address)) await nameServer.close(address);
    for (const address of gateways) await nameServer.listen(address);
  }

  /** Takes blocks without tasks off the host; they are handed back in the background. One that a container of somebody
   *  else is connected to stays until that is gone: it must not hold up the end of any task. */
  async #removeUnused(): Promise<void> {
    let removed = 0;
    for (const block of this.#table.unused()) {
      if (!(await this.#removeNetwork(block.dockerNetwork))) continue;
      await this.#options.nameServer.close(block.gateway);
      this.#table.removeBlock(block.block);
      this.#toRelease.set(block.block, block);
      removed += 1;
    }
    if (removed === 0) return;
    await this.#heal();
    this.#options.onNetworks(this.networkIds());
    this.#wake?.();
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

  /** After a start: blocks that the network-manager thinks we hold, but of which nothing is on the host, go back. */
  async #compareLeases(signal: AbortSignal): Promise<void> {
    const { leases, networks } = await this.#options.client.listLeases({}, { signal });
    const networkById = new Map(networks.map((network) => [network.id, network]));
    for (const lease of leases) {
      const network = networkById.get(lease.networkId);
      if (this.#table.has(lease.block) || !network) continue;
      this.#toRelease.set(
        lease.block,
        blockOf({
          networkId: lease.networkId,
          stackId: network.stackId,
          network: network.name,
          block: lease.block,
          internal: network.internal,
        }),
      );
    }
  }

  /** True when nothing is left to hand back. */
  async #releaseBlocks(signal: AbortSignal): Promise<boolean> {
    for (const block of [...this.#toRelease.values()]) {
      // In turn with prepare: a block that was just leased again must not be handed back.
      await this.#attempt(signal, `block ${block.block} not handed back yet`, async () => {
        if (!this.#toRelease.has(block.block) || this.#table.has(block.block)) return;
        const request = { networkId: block.networkId, block: block.block };
        await this.#options.client.releaseBlock(request, { signal, timeoutMs: leaseTimeoutMs });
        this.#toRelease.delete(block.block);
      });
    }
    return this.#toRelease.size === 0;
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

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await this.#options.clock.sleep(ms, AbortSignal.any([signal, woken.signal]));
    this.#wake = undefined;
  }
}
