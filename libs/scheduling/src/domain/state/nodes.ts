import type { Change as NetworkChange } from '@berth/contracts/network';
import type { Change, Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import type { NodesView } from '../orchestration/types.ts';
import type { Candidate } from '../placement/types.ts';
import type { Records } from './records.ts';

/** Nodes as the registry lists them, kept from its changes. */
export class Nodes {
  readonly #nodes = new Map<string, Node>();

  /** Applies a step of the registry's mirror; returns the nodes that differ. */
  apply(step: { readonly kind: 'reset' | 'changes'; readonly changes: readonly Change[] }): Set<string> {
    const touched = new Set<string>();
    if (step.kind === 'reset') {
      for (const id of this.#nodes.keys()) touched.add(id);
      this.#nodes.clear();
    }
    for (const { key, resource } of step.changes) {
      if (resource?.$case === 'node') {
        this.#nodes.set(resource.value.id, resource.value);
        touched.add(resource.value.id);
      } else if (resource === undefined && key.startsWith(nodeKeyPrefix)) {
        const id = key.slice(nodeKeyPrefix.length);
        this.#nodes.delete(id);
        touched.add(id);
      }
    }
    return touched;
  }

  get(id: string): Node | undefined {
    return this.#nodes.get(id);
  }

  /** Those that have not left, by id. */
  present(): Node[] {
    return [...this.#nodes.values()]
      .filter(({ status }) => status !== NodeStatus.NODE_STATUS_LEFT)
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** With what the scheduler says of them. */
  view(records: Records): NodesView {
    return {
      get: (id) => this.#nodes.get(id),
      all: () => this.#nodes.values(),
      availability: (id) => availabilityOf(records, id),
    };
  }

  /** Where a task could go. */
  candidates(records: Records): Candidate[] {
    return this.present().map((node) => ({
      node,
      availability: availabilityOf(records, node.id),
      usage: records.usage(node.id),
    }));
  }
}

/** Which stacks still have networks, kept from the network-manager's changes. */
export class StackNetworks {
  readonly #stackOf = new Map<string, string>();

  /** Applies a step of the network-manager's mirror; returns the stacks that it speaks of. */
  apply(step: { readonly kind: 'reset' | 'changes'; readonly changes: readonly NetworkChange[] }): Set<string> {
    const touched = new Set<string>();
    if (step.kind === 'reset') {
      for (const stackId of this.#stackOf.values()) touched.add(stackId);
      this.#stackOf.clear();
    }
    for (const { key, resource } of step.changes) {
      const before = this.#stackOf.get(key);
      if (before !== undefined) touched.add(before);
      if (resource?.$case === 'network') {
        this.#stackOf.set(key, resource.value.stackId);
        touched.add(resource.value.stackId);
      } else this.#stackOf.delete(key);
    }
    return touched;
  }

  has(stackId: string): boolean {
    for (const id of this.#stackOf.values()) if (id === stackId) return true;
    return false;
  }
}

const nodeKeyPrefix = 'node/';

function availabilityOf(records: Records, nodeId: string): Availability {
  return records.availabilities.get(nodeId)?.value.availability ?? Availability.AVAILABILITY_UNSPECIFIED;
}
