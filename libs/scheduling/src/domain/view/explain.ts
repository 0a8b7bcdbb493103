import type { TaskView } from '@berth/contracts/scheduler';
import { UpdateState } from '@berth/contracts/scheduler';
import type { PlacementFailure, Task } from '@berth/contracts/workload';
import { DesiredState, Health, TaskState } from '@berth/contracts/workload';
import { stateName } from '@berth/workload';
import { endOf, gateOf, heldFailure } from '../orchestration/depends-on.ts';
import { demandOf, slotFailures } from '../placement/demand.ts';
import { explainPlacement } from '../placement/place.ts';
import type { Candidate } from '../placement/types.ts';
import { departingVolumes } from '../stack/volumes.ts';
import type { Records } from '../state/records.ts';
import type { HostnameOf } from './find-task.ts';

/** Every filter's count for a pending task, as of now; undefined for a task that has a node. */
export function pendingNow(
  records: Records,
  candidates: readonly Candidate[],
  task: Task,
): PlacementFailure | undefined {
  if (task.state !== TaskState.TASK_STATE_PENDING) return undefined;
  const service = records.services.get(task.serviceId)?.value;
  const version = records.versions.get(task.serviceId, String(task.specVersion))?.value;
  if (!service || !version) return task.pending;
  const gate = gateOf(records, service);
  if (gate.kind === 'held') return heldFailure(gate, candidates.length);
  const failures = slotFailures(records, task.serviceId, task.specVersion);
  const homeOf = (volume: string): string | undefined => records.volumes.get(task.namespace, volume)?.value.nodeId;
  return explainPlacement(demandOf(task, version, failures, homeOf, departingVolumes(records)), candidates);
}

/** Why a task is as it is, most important first. */
export function explainTask(
  records: Records,
  { task, status }: TaskView,
  pending: PlacementFailure | undefined,
  hostnameOf: HostnameOf,
): string[] {
  if (!task) return [];
  const state = task.static ? (status?.state ?? task.state) : records.stateOf(task);
  const reasons: string[] = [];
  if (pending) {
    reasons.push(
      pending.summary,
      ...pending.filters.map(({ filter, nodes, detail }) => `${filter}: ${nodes} (${detail})`),
    );
  } else reasons.push(sentence(state, task, status, hostnameOf(task.nodeId)));
  if (status?.message) reasons.push(status.message);
  reasons.push(...moving(records, task, hostnameOf));
  const failedRuns = task.earlierFailedRuns + (status?.failedRuns ?? 0);
  if (failedRuns > 0) {
    reasons.push(
      `failed runs of its slot at this spec version: ${failedRuns}; last exit code ${status?.exitCode ?? 0}`,
    );
  }
  const service = records.services.get(task.serviceId)?.value.service;
  if (service && service.specVersion !== task.specVersion) {
    reasons.push(
      `it runs spec version ${task.specVersion} of ${task.service}; the current one is ${service.specVersion}`,
    );
  }
  if (service?.update === UpdateState.UPDATE_STATE_UPDATING) reasons.push(`${task.service} is being updated`);
  if (service?.message) reasons.push(service.message);
  return reasons;
}

/** What a move to another node makes of it: it takes over, or is taken over from. */
function moving(records: Records, task: Task, hostnameOf: HostnameOf): string[] {
  if (task.static || task.desired !== DesiredState.DESIRED_STATE_RUNNING) return [];
  const others = records.tasksOf(task.serviceId).map(({ value }) => value);
  const wanted = others.filter(({ desired }) => desired === DesiredState.DESIRED_STATE_RUNNING);
  const [before, after] = [
    wanted.find(({ id }) => id === task.replaces),
    wanted.find(({ replaces }) => replaces === task.id),
  ];
  const reasons: string[] = [];
  if (before) {
    const where = hostnameOf(before.nodeId);
    reasons.push(`it takes over from ${before.id} on ${where}, which stops once this one is ready and announced`);
  }
  if (after) {
    const where = after.nodeId === '' ? 'which has no node yet' : `on ${hostnameOf(after.nodeId)}`;
    reasons.push(`it is to leave its node: it stops once ${after.id} ${where} is ready and announced`);
  }
  return reasons;
}

function sentence(state: TaskState, task: Task, status: TaskView['status'], hostname: string): string {
  const ending = task.desired === DesiredState.DESIRED_STATE_RUNNING ? '' : ', and it is to stop';
  switch (state) {
    case TaskState.TASK_STATE_ASSIGNED:
      return `it was given to ${hostname}, whose agent has yet to accept it${ending}`;
    case TaskState.TASK_STATE_STARTING:
      return status?.health === Health.HEALTH_STARTING
        ? `it was started on ${hostname}; its health check has yet to pass${ending}`
        : `it is being started on ${hostname}${ending}`;
    case TaskState.TASK_STATE_RUNNING:
      return `it runs on ${hostname}${ending}`;
    case TaskState.TASK_STATE_RESTARTING:
      return `it ${endOf({ state, status })} on ${hostname}; the next run is due${ending}`;
    case TaskState.TASK_STATE_FAILED:
      return `it ${endOf({ state, status })} on ${hostname}, and its restart policy allows no other run`;
    case TaskState.TASK_STATE_REJECTED:
      return `it was rejected by ${hostname}; another try follows`;
    case TaskState.TASK_STATE_COMPLETE:
      return `its run on ${hostname} ended well, and no other is due`;
    case TaskState.TASK_STATE_ORPHANED:
      return `its node ${hostname} is lost`;
    default:
      return `it is ${stateName(state)} on ${hostname}${ending}`;
  }
}
