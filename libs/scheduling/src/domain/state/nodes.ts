import type { Change as NetworkChange } from '@berth/contracts/network';
import type { Change, Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import type { NodesView } from '../orchestration/types.ts';
import type { Candidate } from '../placement/types.ts';
import { IndexMap } from './index-map.ts';
import type { Records } from './records.ts';

/** What a step of the registry's mirror changed. */
export interface RegistryTouched {
  readonly nodes: ReadonlySet<string>;
  /** Tasks whose endpoints differ. */
  readonly announced: ReadonlySet<string>;
}

/** Nodes as the registry lists them, and which tasks callers are told of, kept from its changes. */
export class Nodes {
  readonly #nodes = new Map<string, Node>();
  /** Task by key of its healthy endpoint. */
  readonly #endpoints = new Map<string, string>();
  /** Healthy endpoints of a task. */
  readonly #announced = new Map<string, number>();

  /** Applies a step of the registry's mirror. */
  apply(step: { readonly kind: 'reset' | 'changes'; readonly changes: readonly Change[] }): RegistryTouched {
    const touched = new Set<string>();
    const announced = new Set<string>();
    if (step.kind === 'reset') {
      for (const id of this.#nodes.keys()) touched.add(id);
      for (const id of this.#announced.keys()) announced.add(id);
      this.#nodes.clear();
      this.#endpoints.clear();
      this.#announced.clear();
    }
    for (const { key, resource } of step.changes) {
      if (resource?.$case === 'endpoint') {
        const { healthy, taskId } = resource.value;
        this.#setEndpoint(key, healthy ? taskId : undefined);
        announced.add(taskId);
      } else if (resource === undefined && this.#endpoints.has(key)) {
        announced.add(this.#endpoints.get(key) ?? '');
        this.#setEndpoint(key, undefined);
      } else if (resource?.$case === 'node') {
        this.#nodes.set(resource.value.id, resource.value);
        touched.add(resource.value.id);
      } else if (resource === undefined && key.startsWith(nodeKeyPrefix)) {
        const id = key.slice(nodeKeyPrefix.length);
        this.#nodes.delete(id);
        touched.add(id);
      }
    }
    return { nodes: touched, announced };
  }

  /** On how many networks callers are told of a task. */
  announced(taskId: string): number {
    return this.#announced.get(taskId) ?? 0;
  }

  #setEndpoint(key: string, taskId: string | undefined): void {
    const before = this.#endpoints.get(key);
    if (before === taskId) return;
    if (before !== undefined) this.#count(before, -1);
    if (taskId === undefined) this.#endpoints.delete(key);
    else {
      this.#endpoints.set(key, taskId);
      this.#count(taskId, 1);
    }
  }

  #count(taskId: string, change: number): void {
    const count = this.announced(taskId) + change;
    if (count > 0) this.#announced.set(taskId, count);
    else this.#announced.delete(taskId);
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
  readonly #networksOf = new IndexMap();

  /** Applies a step of the network-manager's mirror; returns the stacks that it speaks of. */
  apply(step: { readonly kind: 'reset' | 'changes'; readonly changes: readonly NetworkChange[] }): Set<string> {
    const touched = new Set<string>();
    if (step.kind === 'reset') {
      for (const stackId of this.#stackOf.values()) touched.add(stackId);
      this.#stackOf.clear();
      this.#networksOf.clear();
    }
    for (const { key, resource } of step.changes) {
      const before = this.#stackOf.get(key);
      if (before !== undefined) {
        touched.add(before);
        this.#networksOf.remove(before, key);
      }
      if (resource?.$case === 'network') {
        this.#stackOf.set(key, resource.value.stackId);
        this.#networksOf.add(resource.value.stackId, key);
        touched.add(resource.value.stackId);
      } else this.#stackOf.delete(key);
    }
    return touched;
  }

  has(stackId: string): boolean {
    return this.#networksOf.of(stackId).size > 0;
  }
}

const nodeKeyPrefix = 'node/';

function availabilityOf(records: Records, nodeId: string): Availability {
  return records.availabilities.get(nodeId)?.value.availability ?? Availability.AVAILABILITY_UNSPECIFIED;
}
