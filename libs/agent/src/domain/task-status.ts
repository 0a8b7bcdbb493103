import type { Assignment } from '@berth/contracts/scheduler';
import type { PortSpec, TaskStatus } from '@berth/contracts/workload';
import { DesiredState, Health, Protocol, TaskState } from '@berth/contracts/workload';
import type { ContainerState, PublishedPort } from '@berth/kernel';
import { taskOfAssignment } from './run-plan.ts';
import type { TaskRecord } from './task-record.ts';
import { byRun } from './task-record.ts';
import type { TaskMemo } from './task-step.ts';

const finalStates = {
  complete: TaskState.TASK_STATE_COMPLETE,
  failed: TaskState.TASK_STATE_FAILED,
  rejected: TaskState.TASK_STATE_REJECTED,
} as const;

const healths = {
  none: Health.HEALTH_UNSPECIFIED,
  starting: Health.HEALTH_STARTING,
  healthy: Health.HEALTH_HEALTHY,
  unhealthy: Health.HEALTH_UNHEALTHY,
} as const;

const protocols = {
  tcp: Protocol.PROTOCOL_TCP,
  udp: Protocol.PROTOCOL_UDP,
  sctp: Protocol.PROTOCOL_SCTP,
} as const;

export interface StatusInput {
  readonly assignment: Assignment;
  readonly record: TaskRecord;
  readonly memo: TaskMemo;
  readonly containers: readonly ContainerState[];
}

/** What the agent says of a task now; `seq` is the caller's to count. */
export function statusOf(input: StatusInput): TaskStatus {
  const { assignment, record, memo } = input;
  const task = taskOfAssignment(assignment);
  const current = byRun(input.containers).find((c) => c.run === record.run)?.state;
  const running = current?.phase.kind === 'running' ? current.phase : undefined;
  const launching = memo.operation?.kind === 'launch';
  const gone = task.desired !== DesiredState.DESIRED_STATE_RUNNING && input.containers.length === 0 && !launching;
  return {
    taskId: task.id,
    run: record.run,
    seq: record.seq,
    ...stateOf(input, current, gone),
    health: current && running ? healths[current.health] : Health.HEALTH_UNSPECIFIED,
    containerId: current?.id ?? '',
    exitCode: record.exitCode,
    startedAtMs: running?.startedAtMs ?? record.startedAtMs,
    finishedAtMs: running ? 0 : record.finishedAtMs,
    failedRuns: record.failedRuns,
    ports: current && running ? portsOf(current.ports) : [],
    // Not before its addresses and volumes are handed back.
    removed: gone && memo.released && task.desired === DesiredState.DESIRED_STATE_REMOVE,
  };
}

type StateAndMessage = Pick<TaskStatus, 'state' | 'message'>;

function stateOf(input: StatusInput, current: ContainerState | undefined, gone: boolean): StateAndMessage {
  const { assignment, record, memo } = input;
  const ended = record.final && { state: finalStates[record.final], message: record.message };
  if (gone) return ended ?? { state: TaskState.TASK_STATE_SHUTDOWN, message: '' };
  if (taskOfAssignment(assignment).desired !== DesiredState.DESIRED_STATE_RUNNING) {
    const { state } = ended ?? aliveState(input, current);
    return { state, message: memo.drainedAt !== undefined && memo.operation === undefined ? 'draining' : 'stopping' };
  }
  return ended ?? aliveState(input, current);
}

function aliveState({ record, memo }: StatusInput, current: ContainerState | undefined): StateAndMessage {
  if (current?.phase.kind === 'running') return runningState(current, record);
  if (memo.operation?.kind === 'launch') {
    const preparing = memo.operation.phase === 'preparing';
    return { state: preparing ? TaskState.TASK_STATE_PREPARING : TaskState.TASK_STATE_STARTING, message: '' };
  }
  if (record.run > 1 && record.judgedRun === record.run - 1) {
    const waits = memo.waiting === '' ? '' : `; ${memo.waiting}`;
    return { state: TaskState.TASK_STATE_RESTARTING, message: `${record.message}${waits}` };
  }
  const state = record.run === 0 ? TaskState.TASK_STATE_ACCEPTED : TaskState.TASK_STATE_PREPARING;
  return { state, message: memo.waiting };
}

function runningState(current: ContainerState, record: TaskRecord): StateAndMessage {
  switch (current.health) {
    case 'starting':
      return { state: TaskState.TASK_STATE_STARTING, message: 'waiting for its health check' };
    case 'unhealthy':
      return {
        state: TaskState.TASK_STATE_RUNNING,
        message: `unhealthy: ${current.healthOutput || record.message}`,
      };
    default:
      return { state: TaskState.TASK_STATE_RUNNING, message: '' };
  }
}

/** One line for each published port: the engine lists the IPv4 and the IPv6 wildcard apart. */
function portsOf(ports: readonly PublishedPort[]): PortSpec[] {
  const unique = new Map<string, PortSpec>();
  for (const port of ports) {
    const hostIp = port.hostIp === '0.0.0.0' || port.hostIp === '::' ? '' : port.hostIp;
    const spec = { target: port.target, published: port.published, protocol: protocols[port.protocol], hostIp };
    unique.set(JSON.stringify(spec), spec);
  }
  return [...unique.values()];
}

/** Do two statuses say the same, their numbers aside? */
export function sameStatus(a: TaskStatus, b: TaskStatus): boolean {
  return JSON.stringify({ ...a, seq: 0 }) === JSON.stringify({ ...b, seq: 0 });
}
