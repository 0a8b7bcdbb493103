import type { ServiceVersion } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { DesiredState } from '@berth/contracts/workload';
import { isServing } from '@berth/workload';

import { gateOf } from './orchestration/depends-on.ts';
import { eligibleNodes, reconcileGlobal } from './orchestration/global.ts';
import type { Observations } from './orchestration/observations.ts';
import { reconcileReplicated } from './orchestration/replicated.ts';
import { isGone } from './orchestration/slot-tasks.ts';
import type { Action, Decision, Limits, NodesView, SeenTask, ServiceScene } from './orchestration/types.ts';
import type { Assignment } from './placement/assign.ts';
import { assignPending } from './placement/assign.ts';
import type { Candidate } from './placement/types.ts';
import { sameVersion } from './stack/derive.ts';
import type { StackAction } from './stack/reconcile.ts';
import { reconcileStack } from './stack/reconcile.ts';
import { volumesToGo } from './stack/volumes.ts';
import type { Records } from './state/records.ts';
import type { Held } from './state/table.ts';

/** What one round of the leader looks at. */
export interface RoundInput {
  readonly records: Records;
  readonly nodes: NodesView;
  /** Where a task could go; asked only when one is pending. */
  readonly candidates: () => readonly Candidate[];
  readonly observations: Observations;
  /** On how many networks callers are told of a task. */
  readonly announced: (taskId: string) => number;
  /** Has the network-manager still networks of a stack? Undefined while that is not known. */
  readonly networksLeft: (stackId: string) => boolean | undefined;
  /** Stacks and services that something has changed of. */
  readonly stacks: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
  readonly limits: Limits;
  /** Monotonic. */
  readonly nowMs: number;
}

/** What the round decides. Stages meet in the store: a task made in one round is placed in a later one. */
export interface Round {
  readonly stackActions: readonly StackAction[];
  readonly actions: readonly Action[];
  readonly assignments: readonly Assignment[];
  /** More tasks could be placed than one round places. */
  readonly more: boolean;
  /** When to look at a service again, in monotonic milliseconds. */
  readonly wakes: ReadonlyMap<string, number>;
}

/** Decides one round: stacks into services, services into tasks, pending tasks onto nodes. Pure. */
export function decideRound(input: RoundInput): Round {
  const { records, stacks } = input;
  const hostnameOf = (nodeId: string): string => input.nodes.get(nodeId)?.hostname || nodeId;
  const stackActions = [...stacks].sort().flatMap((id) => {
    const record = records.stack(id)?.value;
    if (!record) return [];
    const eligible = (spec: { constraints: readonly string[] }): number =>
      eligibleNodes(input.nodes, spec.constraints).length;
    return reconcileStack({ record, records, eligible, networksLeft: input.networksLeft(id), hostnameOf });
  });
  // What the stack stage is about to rewrite is decided on when it stands.
  const rewritten = new Set(stackActions.flatMap((action) => ('serviceId' in action ? [action.serviceId] : [])));
  const actions: Action[] = [...records.availabilities.values()]
    .filter(({ value }) => isGone(value.nodeId, input.nodes))
    .map(({ value }) => ({ kind: 'forget-node', nodeId: value.nodeId }));
  const wakes = new Map<string, number>();
  const services = new Set(input.services);
  // A stack on its way out takes its services along.
  for (const id of stacks) {
    if (!records.stack(id)?.value.stack?.removing) continue;
    for (const { value } of records.servicesOf(id)) services.add(value.service?.id ?? '');
  }
  for (const id of [...withDependents(records, services)].sort()) {
    if (rewritten.has(id)) continue;
    const decision = decideService(input, id);
    actions.push(...decision.actions);
    if (decision.wakeAtMs !== undefined) wakes.set(id, decision.wakeAtMs);
  }
  const touched = new Set(actions.flatMap((action) => ('taskId' in action ? [action.taskId] : [])));
  const skip = (task: Task): boolean =>
    touched.has(task.id) ||
    rewritten.has(task.serviceId) ||
    records.stack(task.stackId)?.value.stack?.removing !== false;
  const placedMax = input.limits.placedPerRoundMax;
  return { stackActions, actions, ...assignPending(records, input.candidates, { skip, placedMax }), wakes };
}

/** One service's tasks against what it should have. */
export function decideService(
  input: Omit<RoundInput, 'candidates' | 'stacks' | 'services'>,
  serviceId: string,
): Decision {
  const { records, nodes, limits, nowMs } = input;
  const record = records.services.get(serviceId)?.value;
  if (!record?.service) return { actions: [] };
  const version = records.currentVersion(record);
  if (!version) return { actions: [] };
  const versions = records.versionsOf(serviceId);
  const scene: ServiceScene = {
    record,
    removing: record.removing || records.stack(record.service.stackId)?.value.stack?.removing !== false,
    version,
    versions,
    tasks: records.tasksOf(serviceId).map((held) => seenTask(input, held, versions)),
    nodes,
    gate: gateOf(records, record),
    volumeNodes: [...new Set(volumesToGo(records, record.service.stackId, version).map(({ nodeId }) => nodeId))].sort(),
  };
  const adopted = adoptions(scene);
  // Who is outdated is decided when that stands.
  if (adopted.length > 0) return { actions: adopted };
  return record.service.mode === 'global'
    ? reconcileGlobal(scene, limits, nowMs)
    : reconcileReplicated(scene, limits, nowMs);
}

/** A spec that says again what an older version said (after a halted update, say) replaces no task of that version. */
function adoptions({ removing, tasks, version, versions }: ServiceScene): Action[] {
  if (removing) return [];
  const outdated = tasks.filter(
    ({ task }) => task.desired === DesiredState.DESIRED_STATE_RUNNING && task.specVersion !== version.version,
  );
  const running = new Set(outdated.map(({ task }) => task.specVersion));
  const alike = versions.filter((each) => running.has(each.version) && sameVersion(each, version));
  return outdated
    .filter(({ task }) => alike.some((each) => each.version === task.specVersion))
    .map(({ task }) => ({ kind: 'adopt-version', taskId: task.id, specVersion: version.version }));
}

function seenTask(
  { announced, nowMs, observations, records }: Pick<RoundInput, 'announced' | 'nowMs' | 'observations' | 'records'>,
  { value: task, createRevision }: Held<Task>,
  versions: readonly ServiceVersion[],
): SeenTask {
  const status = records.status(task.id);
  const state = records.stateOf(task);
  const networks = versions.find(({ version }) => version === task.specVersion)?.spec?.networks.length ?? 0;
  return {
    task,
    status,
    state,
    createRevision,
    sinceMs: observations.sinceMs(task.id, nowMs),
    failuresMs: observations.failuresMs(task.id),
    ready: isServing({ state, status }) && announced(task.id) >= networks,
  };
}

/** Services, and those of their stacks that await one of them. */
function withDependents(records: Records, services: ReadonlySet<string>): Set<string> {
  const all = new Set(services);
  for (const id of services) {
    const service = records.services.get(id)?.value.service;
    if (!service) continue;
    for (const { value } of records.servicesOf(service.stackId)) {
      if (value.service && value.dependsOn.some((dependency) => dependency.service === service.name)) {
        all.add(value.service.id);
      }
    }
  }
  return all;
}
