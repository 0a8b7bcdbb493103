import type { Lease } from '@berth/contracts/network';
import type { BerthError, Logger } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { BlockTable } from '../../domain/network/blocks.ts';
import type { FirewallState } from '../../domain/network/firewall.ts';
import { desiredFirewall, diffFirewall, firewallAfter } from '../../domain/network/firewall.ts';
import type { HostLink, KernelState } from '../../domain/network/kernel.ts';
import { desiredKernel, diffKernel, kernelAfter } from '../../domain/network/kernel.ts';
import { peersOf } from '../../domain/network/peers.ts';
import type { Firewall, KernelNetwork, NameServer } from './ports.ts';

/** Where this host is reached by the others. */
export interface HostAddress {
  readonly address: string;
  /** UDP port at which it takes VXLAN packets. */
  readonly vxlanPort: number;
}

export interface HostNetworkOptions {
  readonly clusterId: string;
  readonly host: HostAddress;
  readonly kernel: KernelNetwork;
  readonly firewall: Firewall;
  readonly nameServer: NameServer;
  readonly log: Logger;
  /** Leases of a network; undefined while they are not known. */
  readonly leasesOf: (networkId: string) => Iterable<Lease> | undefined;
  /** Hosts of the cluster, and the ports there that are for its parts alone. */
  readonly parts: () => { readonly addresses: readonly string[]; readonly ports: readonly number[] };
}

/** What the host holds, as far as is known without looking. */
interface Known {
  readonly link: HostLink | undefined;
  readonly kernel: KernelState;
  readonly firewall: FirewallState;
}

/**
 * Brings devices, routes, packet filter and name servers to what this host's blocks and its peers ask for. What it has
 * programmed it remembers, so that a change costs only itself; a look at the host costs a few programs.
 */
export class HostNetwork {
  readonly #options: HostNetworkOptions;
  #known: Known | undefined;
  /** What the kernel refused last; said once. */
  #refused = '';
  /** Addresses at which no name server could be had when last tried, and why. */
  readonly #unserved = new Map<string, BerthError>();

  constructor(options: HostNetworkOptions) {
    this.#options = options;
  }

  /** What is known of the host may no longer be so: the next match looks. */
  doubt(): void {
    this.#known = undefined;
  }

  /** The device that carries this host's address, as last seen. */
  async link(): Promise<HostLink | undefined> {
    return (await this.#look()).link;
  }

  /** Throws Unavailable when the packet filter can't be had, for without it nothing is kept apart. */
  async match(table: BlockTable): Promise<void> {
    const { clusterId, host, firewall, kernel, leasesOf, parts, nameServer } = this.#options;
    const { blocks } = table;
    const ownBlocks = new Set(blocks.map(({ block }) => block));
    const networks = table.networks((networkId) => {
      const leases = leasesOf(networkId);
      return leases && peersOf(leases, host.address, ownBlocks);
    });
    const known = await this.#look();
    this.#known = undefined;
    const { link } = known;
    const memberships = table.memberships();
    const wantedFirewall = desiredFirewall({ clusterId, link, blocks, networks, memberships, parts: parts() });
    const rules = diffFirewall(known.firewall, wantedFirewall, networks);
    // First the rules: no packet goes a way that they do not guard yet.
    if (rules) await firewall.apply(rules);
    const wantedKernel = desiredKernel({ clusterId, ...host, link, networks });
    const change = diffKernel(known.kernel, wantedKernel, { clusterId, networks });
    if (!change || (await this.#program(change, kernel))) {
      const kernelNow = kernelAfter(known.kernel, wantedKernel, { networks });
      this.#known = { link, kernel: kernelNow, firewall: firewallAfter(known.firewall, wantedFirewall, networks) };
    }
    const gateways = new Set(blocks.map((block) => block.gateway));
    for (const address of nameServer.addresses) if (!gateways.has(address)) await nameServer.close(address);
    for (const address of this.#unserved.keys()) if (!gateways.has(address)) this.#unserved.delete(address);
    for (const address of gateways) await this.#listen(address);
  }

  /** Why there is no name server at this address; undefined where there is one. */
  unserved(address: string): BerthError | undefined {
    return this.#unserved.get(address);
  }

  /** Where no name server can be had is tried again with the next match: it concerns one network, and holds up no other. */
  async #listen(address: string): Promise<void> {
    try {
      await this.#options.nameServer.listen(address);
      this.#unserved.delete(address);
    } catch (error) {
      if (!isBerthError(error)) throw error;
      if (this.#unserved.get(address)?.message !== error.message)
        this.#options.log.warn({ err: error }, 'a network has no name server for now');
      this.#unserved.set(address, error);
    }
  }

  /** A way to one peer that the kernel refuses must not hold up the start of any task: it is tried again later. */
  async #program(change: Parameters<KernelNetwork['apply']>[0], kernel: KernelNetwork): Promise<boolean> {
    try {
      await kernel.apply(change);
      this.#refused = '';
      return true;
    } catch (error) {
      if (!isBerthError(error)) throw error;
      if (this.#refused !== error.message) this.#options.log.warn({ err: error }, 'not all routes to other hosts');
      this.#refused = error.message;
      return false;
    }
  }

  async #look(): Promise<Known> {
    if (this.#known) return this.#known;
    const [{ link, state }, firewall] = await Promise.all([this.#options.kernel.read(), this.#options.firewall.read()]);
    this.#known = { link, kernel: state, firewall };
    return this.#known;
  }
}
