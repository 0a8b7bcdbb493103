import type { Change, Network } from '@berth/contracts/network';
import type { Cidr } from '@berth/workload';
import { contains, parseCidr } from '@berth/workload';

/** Networks, and which blocks of them which node holds, kept from the network-manager's changes. */
export class NetworkFacts {
  readonly #networks = new Map<string, Network>();
  /** By key of the lease. */
  readonly #leases = new Map<string, { readonly holding: string; readonly networkId: string }>();
  /** Blocks by network and node, by key of their lease. */
  readonly #blocks = new Map<string, Map<string, Cidr>>();
  #known = false;

  /** The network-manager has been heard, once in this process. */
  get known(): boolean {
    return this.#known;
  }

  network(id: string): Network | undefined {
    return this.#networks.get(id);
  }

  /** Does the node hold the block that an address is out of? */
  holds(nodeId: string, networkId: string, ip: string): boolean {
    const address = parseCidr(`${ip}/32`);
    for (const block of this.#blocks.get(`${networkId} ${nodeId}`)?.values() ?? []) {
      if (contains(block, address)) return true;
    }
    return false;
  }

  /** Applies a step of the network-manager's mirror; returns the networks that it speaks of, undefined for all. */
  apply(step: { readonly kind: 'reset' | 'changes'; readonly changes: readonly Change[] }): Set<string> | undefined {
    this.#known = true;
    const touched = new Set<string>();
    if (step.kind === 'reset') {
      this.#networks.clear();
      this.#leases.clear();
      this.#blocks.clear();
    }
    for (const { key, resource } of step.changes) {
      const before = this.#leases.get(key);
      if (before) {
        touched.add(before.networkId);
        this.#leases.delete(key);
        this.#blocks.get(before.holding)?.delete(key);
      }
      if (resource?.$case === 'network') {
        this.#networks.set(resource.value.id, resource.value);
        touched.add(resource.value.id);
      } else if (resource?.$case === 'lease') {
        const { networkId, nodeId, block } = resource.value;
        const holding = `${networkId} ${nodeId}`;
        this.#leases.set(key, { holding, networkId });
        const blocks = this.#blocks.get(holding) ?? new Map<string, Cidr>();
        this.#blocks.set(holding, blocks.set(key, parseCidr(block)));
        touched.add(networkId);
      } else if (key.startsWith(networkKeyPrefix)) {
        const id = key.slice(networkKeyPrefix.length);
        this.#networks.delete(id);
        touched.add(id);
      }
    }
    return step.kind === 'reset' ? undefined : touched;
  }
}

const networkKeyPrefix = 'network/';
