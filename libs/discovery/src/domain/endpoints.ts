import type { AnnounceEndpointsRequest, Endpoint, EndpointRecord, NodeStatus } from '@berth/contracts/registry';
import { Endpoint as EndpointCodec, NodeStatus as Status } from '@berth/contracts/registry';
import type { TaskView } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { DesiredState } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import { isIpv4, taskName } from '@berth/workload';
import type { NetworkFacts } from './network-facts.ts';
import { sameEndpoint } from './public.ts';
import type { Stored } from './record-table.ts';

/** More endpoints than this a node can't announce in one call. */
const endpointsPerCallMax = 10_000;
/** An endpoint whose task the scheduler has not known for so long is forgotten; its agent withdraws it much earlier. */
const unknownTaskMs = 60_000;

/** What is known of networks and of who holds which addresses. */
export type NetworkWorld = Pick<NetworkFacts, 'known' | 'network' | 'holds'>;

/** What serving depends on. */
export interface ServingWorld {
  /** The scheduler's task; undefined when there is none; as last heard while not `tasksSynced`. */
  task(taskId: string): TaskView | undefined;
  /** The mirror of the scheduler is whole: only then does absence count. */
  readonly tasksSynced: boolean;
  nodeStatus(nodeId: string): NodeStatus;
  /** Host name of a node; empty for one that is not known. */
  hostname(nodeId: string): string;
  readonly networks: NetworkWorld;
  /** The mirror of the network-manager is whole. */
  readonly networksSynced: boolean;
}

/**
 * May an endpoint be public? While its task is desired-running on that node, the node is neither lost nor left, and names
 * and address are its task's own; so a task that is to shut down loses its endpoint before it is stopped. As long as the
 * mirror of the scheduler is not synced, nothing is taken back, but what it last said still counts: a container that starts
 * again meanwhile gets its name back. The same for what the network-manager says.
 */
export function mayServe(endpoint: Endpoint, was: boolean, world: ServingWorld): boolean {
  const status = world.nodeStatus(endpoint.nodeId);
  if (status === Status.NODE_STATUS_LOST || status === Status.NODE_STATUS_LEFT) return false;
  if (!world.tasksSynced && was) return true;
  const task = world.task(endpoint.taskId)?.task;
  if (task?.desired !== DesiredState.DESIRED_STATE_RUNNING || task.nodeId !== endpoint.nodeId) return false;
  if (nameFault(endpoint, task, world) !== undefined) return false;
  if (addressFault(endpoint, task, world) === undefined) return true;
  // Absence counts only in a synced mirror.
  return was && !world.networksSynced;
}

/**
 * What an endpoint claims that its task does not have: a node that was broken into takes no names and no addresses of
 * others. Undefined if all is as it should be, or not known here (yet).
 */
export function faultOf(endpoint: Endpoint, world: ServingWorld): string | undefined {
  const task = world.tasksSynced ? world.task(endpoint.taskId)?.task : undefined;
  if (!task || task.nodeId !== endpoint.nodeId) return undefined;
  return nameFault(endpoint, task, world) ?? addressFault(endpoint, task, world);
}

function nameFault(endpoint: Endpoint, task: Task, world: ServingWorld): string | undefined {
  if (endpoint.stackId !== task.stackId) return `stack ${endpoint.stackId} is not its task's`;
  if (endpoint.service !== task.service) return `service ${endpoint.service} is not its task's`;
  const own = taskName(task, world.hostname(task.nodeId)).toLowerCase();
  if (endpoint.taskName !== own) return `name ${endpoint.taskName} is not its task's: ${own}`;
  // Tasks of older schedulers don't say under which names they are found.
  if (!task.networks) return undefined;
  const network = world.networks.network(endpoint.networkId)?.name;
  const { attachments } = task.networks;
  const here = network === undefined ? attachments : attachments.filter((attached) => attached.network === network);
  const names = new Set([task.service, ...here.flatMap(({ aliases }) => aliases)].map((name) => name.toLowerCase()));
  const foreign = endpoint.names.find((name) => !names.has(name));
  return foreign === undefined ? undefined : `name ${foreign} is not its service's`;
}

function addressFault(endpoint: Endpoint, task: Task, { networks }: ServingWorld): string | undefined {
  // Before the network-manager was ever heard there is nothing to compare with.
  if (!networks.known) return undefined;
  const network = networks.network(endpoint.networkId);
  if (network?.stackId !== task.stackId) return `network ${endpoint.networkId} is not of its stack`;
  if (task.networks && !task.networks.attachments.some((attached) => attached.network === network.name)) {
    return `network ${network.name} is not its service's`;
  }
  if (networks.holds(task.nodeId, endpoint.networkId, endpoint.ip)) return undefined;
  return `address ${endpoint.ip} is in no block that its node holds`;
}

/** One record to write; no `next` deletes it. */
export interface EndpointWrite {
  readonly before: Stored<EndpointRecord> | undefined;
  readonly next: EndpointRecord | undefined;
}

/** Endpoints whose `serving` is no longer right, and those of nodes that have left: nobody withdraws them. */
export function reconcileEndpoints(records: Iterable<Stored<EndpointRecord>>, world: ServingWorld): EndpointWrite[] {
  const writes: EndpointWrite[] = [];
  for (const before of records) {
    const { endpoint, serving } = before.value;
    if (!endpoint) continue;
    if (world.nodeStatus(endpoint.nodeId) === Status.NODE_STATUS_LEFT) {
      writes.push({ before, next: undefined });
      continue;
    }
    const next = mayServe(endpoint, serving, world);
    if (next !== serving) writes.push({ before, next: { endpoint, serving: next } });
  }
  return writes;
}

/**
 * Endpoints whose task has been unknown to the scheduler for long: their agent will not withdraw them any more. The caller
 * keeps `since` (by task and network) from call to call.
 */
export function forgottenEndpoints(
  records: Iterable<Stored<EndpointRecord>>,
  world: ServingWorld,
  since: Map<string, number>,
  nowMs: number,
): EndpointWrite[] {
  if (!world.tasksSynced) {
    since.clear();
    return [];
  }
  const seen = new Set<string>();
  const writes: EndpointWrite[] = [];
  for (const before of records) {
    const { endpoint } = before.value;
    if (!endpoint || world.task(endpoint.taskId)) continue;
    const id = `${endpoint.taskId}/${endpoint.networkId}`;
    seen.add(id);
    const sinceMs = since.get(id) ?? nowMs;
    since.set(id, sinceMs);
    if (nowMs - sinceMs >= unknownTaskMs) writes.push({ before, next: undefined });
  }
  for (const id of since.keys()) if (!seen.has(id)) since.delete(id);
  return writes;
}

/**
 * What a node's announcement changes; nothing for what already stands. A node speaks for itself alone: its id comes from
 * its certificate, whatever the endpoints say. Throws InvalidArgument or PermissionDenied.
 */
export function planAnnouncement(input: {
  readonly nodeId: string;
  readonly request: AnnounceEndpointsRequest;
  /** Record of a network and task, whoever announced it. */
  readonly current: (networkId: string, taskId: string) => Stored<EndpointRecord> | undefined;
  /** All records of the node. */
  readonly ofNode: readonly Stored<EndpointRecord>[];
  readonly world: ServingWorld;
}): EndpointWrite[] {
  const { nodeId, request, current, ofNode, world } = input;
  if (request.endpoints.length + request.withdrawn.length > endpointsPerCallMax) {
    throw new BerthError('InvalidArgument', `at most ${endpointsPerCallMax} endpoints a call`, {
      reason: 'TOO_MANY_ENDPOINTS',
    });
  }
  const writes: EndpointWrite[] = [];
  const named = new Set<string>();
  for (const announced of request.endpoints) {
    const endpoint = checked(announced, nodeId);
    const id = `${endpoint.networkId}/${endpoint.taskId}`;
    if (named.has(id)) throw invalid(endpoint, 'is announced twice in one call');
    named.add(id);
    const before = mine(current(endpoint.networkId, endpoint.taskId), nodeId, world);
    const next = { endpoint, serving: mayServe(endpoint, before?.value.serving ?? false, world) };
    if (!before || !sameEndpoint(before.value, next)) writes.push({ before, next });
  }
  const gone = request.full
    ? ofNode
    : request.withdrawn.flatMap(({ networkId, taskId }) => mine(current(networkId, taskId), nodeId, world) ?? []);
  for (const before of gone) {
    const { networkId = '', taskId = '' } = before.value.endpoint ?? {};
    if (!named.has(`${networkId}/${taskId}`)) writes.push({ before, next: undefined });
  }
  return writes;
}

/** An id or a name that becomes part of keys, scopes and subjects. */
const idPattern = /^[A-Za-z0-9_-]{1,64}$/u;
/** A DNS name as people write them: without spaces and control characters. */
const namePattern = /^[\x21-\x7e]{1,253}$/u;
const namesMax = 64;

function checked(announced: Endpoint, nodeId: string): Endpoint {
  const { taskId, networkId, names, taskName } = announced;
  if (!idPattern.test(taskId) || !idPattern.test(networkId))
    throw invalid(announced, 'names no task or no network by its id');
  if (!isIpv4(announced.ip)) throw invalid(announced, 'has no IPv4 address');
  if (names.length > namesMax) throw invalid(announced, 'has too many names');
  const wrong = [...names, ...(taskName ? [taskName] : [])].find((name) => !namePattern.test(name));
  if (wrong !== undefined) throw invalid(announced, `has a name that is none: ${JSON.stringify(wrong.slice(0, 80))}`);
  return EndpointCodec.fromPartial({
    ...announced,
    nodeId,
    names: names.map((name) => name.toLowerCase()),
    taskName: taskName.toLowerCase(),
  });
}

/** The record, if it is the node's to change: it announced it, or the task is known to be its own. */
function mine(
  record: Stored<EndpointRecord> | undefined,
  nodeId: string,
  world: ServingWorld,
): Stored<EndpointRecord> | undefined {
  const { nodeId: holder, taskId = '' } = record?.value.endpoint ?? {};
  if (holder === undefined || holder === nodeId) return record;
  if (world.tasksSynced && world.task(taskId)?.task?.nodeId === nodeId) return record;
  throw new BerthError('PermissionDenied', 'the endpoint belongs to another node', { reason: 'NOT_YOUR_ENDPOINT' });
}

function invalid(endpoint: Endpoint, what: string): BerthError {
  return new BerthError('InvalidArgument', `endpoint of task ${JSON.stringify(endpoint.taskId.slice(0, 80))} ${what}`, {
    reason: 'BAD_ENDPOINT',
  });
}
