import type { View } from '@berth/changes';
import type {
  AnnouncementRecord,
  BrakeRecord,
  Change,
  EndpointRecord,
  IssuedCertificate,
  JoinToken,
  Member,
  MemberRecord,
  Node,
  NodeRecord,
  NodeStatusRecord,
  Presence,
  Replica,
  Revocation,
} from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { MirrorChange, StoredEntry } from '@berth/kernel';
import {
  endpointChange,
  memberChange,
  memberOfNode,
  nodeChange,
  publicEndpoint,
  publicNode,
  revocationChange,
  sameEndpoint,
} from './public.ts';
import type { Records, Stored } from './record-table.ts';
import { RecordTable } from './record-table.ts';
import {
  announcements,
  brakes,
  certificates,
  endpoints,
  members,
  nodes,
  presences,
  replicas,
  revocations,
  statuses,
  tokens,
} from './records.ts';

/** What the registry's decisions read. */
export interface RegistryState {
  readonly nodes: Records<NodeRecord>;
  readonly statuses: Records<NodeStatusRecord>;
  readonly presences: Records<Presence>;
  readonly replicas: Records<Replica>;
  readonly endpoints: Records<EndpointRecord>;
  readonly announcements: Records<AnnouncementRecord>;
  readonly members: Records<MemberRecord>;
  readonly certificates: Records<IssuedCertificate>;
  readonly tokens: Records<JoinToken>;
  /** The brake on mass loss, if it is on or was just ended by an operator. */
  readonly brake: Stored<BrakeRecord> | undefined;
  readonly revocations: Records<Revocation>;
  endpointsOfTask(taskId: string): Stored<EndpointRecord>[];
  endpointsOfNode(nodeId: string): Stored<EndpointRecord>[];
  endpointsOfNetwork(networkId: string): Stored<EndpointRecord>[];
  /** Endpoints announced in a network, served or not. */
  endpointCount(networkId: string): number;
}

/**
 * The registry's records in memory and the public changes they make. A node joins two records (its description and its
 * status), an endpoint is public while it serves, service members and revocations are public as they stand; all else is
 * private.
 */
export class RegistryView implements View<Change>, RegistryState {
  readonly nodes = new RecordTable(nodes);
  readonly statuses = new RecordTable(statuses);
  readonly presences = new RecordTable(presences);
  readonly replicas = new RecordTable(replicas);
  readonly endpoints = new RecordTable(endpoints);
  readonly announcements = new RecordTable(announcements);
  readonly members = new RecordTable(members);
  readonly certificates = new RecordTable(certificates);
  readonly tokens = new RecordTable(tokens);
  readonly #brakes = new RecordTable(brakes);
  readonly revocations = new RecordTable(revocations);
  readonly #all = [
    this.nodes,
    this.statuses,
    this.presences,
    this.replicas,
    this.endpoints,
    this.announcements,
    this.members,
    this.certificates,
    this.tokens,
    this.#brakes,
    this.revocations,
  ];
  #left = 0;
  readonly #endpointsOfTask = new Index();
  readonly #endpointsOfNode = new Index();
  readonly #endpointsOfNetwork = new Index();

  endpointsOfTask(taskId: string): Stored<EndpointRecord>[] {
    return this.#at(this.#endpointsOfTask.keys(taskId));
  }

  endpointsOfNode(nodeId: string): Stored<EndpointRecord>[] {
    return this.#at(this.#endpointsOfNode.keys(nodeId));
  }

  endpointsOfNetwork(networkId: string): Stored<EndpointRecord>[] {
    return this.#at(this.#endpointsOfNetwork.keys(networkId));
  }

  endpointCount(networkId: string): number {
    return this.#endpointsOfNetwork.count(networkId);
  }

  get brake(): Stored<BrakeRecord> | undefined {
    return this.#brakes.get('nodes');
  }

  /** Nodes that have not left. */
  get nodeCount(): number {
    return this.nodes.size - this.#left;
  }

  nodeStatus(id: string): NodeStatus {
    if (this.nodes.get(id)?.value.removed) return NodeStatus.NODE_STATUS_LEFT;
    return this.statuses.get(id)?.value.status ?? NodeStatus.NODE_STATUS_UNSPECIFIED;
  }

  /** A node as everybody sees it. */
  node(id: string): Node | undefined {
    return publicNode(this.nodes.get(id)?.value, this.statuses.get(id)?.value);
  }

  /** Those that have left too. */
  allNodes(): Node[] {
    return [...this.nodes.values()].flatMap(({ value }) => this.node(value.node?.id ?? '') ?? []);
  }

  /** Nodes that have not left, and service instances, by identity. */
  memberList(): Member[] {
    const present = this.allNodes().filter(({ status }) => status !== NodeStatus.NODE_STATUS_LEFT);
    return [...this.serviceList(), ...present.map(memberOfNode)].sort(byIdentity);
  }

  /** Service instances, by identity. */
  serviceList(): Member[] {
    return [...this.members.values()].flatMap(({ value }) => value.member ?? []).sort(byIdentity);
  }

  reset(entries: readonly StoredEntry[]): readonly Change[] {
    for (const table of this.#all) table.clear();
    this.#endpointsOfTask.clear();
    this.#endpointsOfNode.clear();
    this.#endpointsOfNetwork.clear();
    for (const entry of entries) {
      for (const table of this.#all) if (table.family.owns(entry.key)) table.put(entry);
    }
    for (const { value } of this.endpoints.values()) this.#index(value, true);
    this.#left = [...this.nodes.values()].filter(({ value }) => value.removed).length;
    return this.snapshot();
  }

  apply(changes: readonly MirrorChange[]): readonly Change[] {
    // A txn may write both records of a node: it is one public change.
    const touchedNodes = new Set<string>();
    const result: Change[] = [];
    for (const change of changes) {
      const key = change.kind === 'put' ? change.entry.key : change.key;
      if (nodes.owns(key)) {
        const { before, after } = this.nodes.apply(change);
        this.#left += Number(after?.value.removed ?? false) - Number(before?.value.removed ?? false);
        touchedNodes.add((after ?? before)?.value.node?.id ?? '');
      } else if (statuses.owns(key)) {
        const { before, after } = this.statuses.apply(change);
        touchedNodes.add((after ?? before)?.value.nodeId ?? '');
      } else result.push(...this.#applyOne(key, change));
    }
    for (const id of touchedNodes) if (id !== '') result.push(nodeChange(id, this.node(id)));
    return result;
  }

  snapshot(): readonly Change[] {
    return [
      ...this.allNodes().map((node) => nodeChange(node.id, node)),
      ...[...this.endpoints.values()].flatMap(({ value }) => {
        const endpoint = publicEndpoint(value);
        return endpoint ? [endpointChange(endpoint, endpoint)] : [];
      }),
      ...[...this.members.values()].flatMap(({ value }) =>
        value.member ? [memberChange(value.member, value.member)] : [],
      ),
      ...[...this.revocations.values()].map(({ value }) => revocationChange(value.identity, value)),
    ];
  }

  /** A record that is one public change of its own, or none. */
  #applyOne(key: string, change: MirrorChange): Change[] {
    if (endpoints.owns(key)) return this.#endpoint(change);
    if (members.owns(key)) {
      const { before, after } = this.members.apply(change);
      const id = (after ?? before)?.value.member;
      return id ? [memberChange(id, after?.value.member)] : [];
    }
    if (revocations.owns(key)) {
      const { before, after } = this.revocations.apply(change);
      const identity = (after ?? before)?.value.identity;
      return identity === undefined ? [] : [revocationChange(identity, after?.value)];
    }
    this.#all.find((table) => table.family.owns(key))?.apply(change);
    return [];
  }

  #endpoint(change: MirrorChange): Change[] {
    const { before, after } = this.endpoints.apply(change);
    if (before) this.#index(before.value, false);
    if (after) this.#index(after.value, true);
    const id = (after ?? before)?.value.endpoint;
    const shown = publicEndpoint(after?.value);
    if (!id || (!shown && !publicEndpoint(before?.value))) return [];
    if (before && after && sameEndpoint(before.value, after.value)) return [];
    return [endpointChange(id, shown)];
  }

  #index(record: EndpointRecord, present: boolean): void {
    if (!record.endpoint) return;
    const key = endpoints.keyOf(record);
    this.#endpointsOfTask.set(record.endpoint.taskId, key, present);
    this.#endpointsOfNode.set(record.endpoint.nodeId, key, present);
    this.#endpointsOfNetwork.set(record.endpoint.networkId, key, present);
  }

  #at(keys: Iterable<string>): Stored<EndpointRecord>[] {
    return [...keys].flatMap((key) => this.endpoints.at(key) ?? []);
  }
}

/** Keys by a name that they have in common. */
class Index {
  readonly #keys = new Map<string, Set<string>>();

  keys(name: string): Iterable<string> {
    return this.#keys.get(name) ?? [];
  }

  count(name: string): number {
    return this.#keys.get(name)?.size ?? 0;
  }

  set(name: string, key: string, present: boolean): void {
    const keys = this.#keys.get(name) ?? new Set();
    if (present) this.#keys.set(name, keys.add(key));
    else if (keys.delete(key) && keys.size === 0) this.#keys.delete(name);
  }

  clear(): void {
    this.#keys.clear();
  }
}

function byIdentity(a: Member, b: Member): number {
  return order(a.identity, b.identity) || order(a.instance, b.instance);
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
