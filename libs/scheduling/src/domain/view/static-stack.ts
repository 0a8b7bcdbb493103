import type { Service, Stack } from '@berth/contracts/scheduler';
import { UpdateState } from '@berth/contracts/scheduler';
import type { Task, TaskStatus } from '@berth/contracts/workload';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import { defaultNamespace, isServing, staticStackId } from '@berth/workload';
import type { Records } from '../state/records.ts';

/** The control plane's own tasks, as one read-only stack. */
export interface StaticStack {
  readonly stack: Stack;
  readonly services: readonly Service[];
  readonly tasks: readonly { readonly task: Task; readonly status: TaskStatus | undefined }[];
}

/** A static task as the scheduler lists it, whatever else its agent said of it. */
export function staticTask(nodeId: string, task: Task): Task {
  return {
    ...task,
    namespace: defaultNamespace,
    stackId: staticStackId,
    stack: staticStackId,
    serviceId: `${staticStackId}.${task.service}`,
    nodeId,
    desired: DesiredState.DESIRED_STATE_RUNNING,
    state: TaskState.TASK_STATE_ASSIGNED,
    pending: undefined,
    static: true,
  };
}

/** What managers' agents reported; undefined before the first did. */
export function staticStack(records: Records): StaticStack | undefined {
  const tasks = [...records.statics.values()]
    .flatMap(({ value }) =>
      value.tasks.map((task) => ({ task, status: value.statuses.find(({ taskId }) => taskId === task.id) })),
    )
    .sort((a, b) => (a.task.id < b.task.id ? -1 : 1));
  if (tasks.length === 0) return undefined;
  const names = [...new Set(tasks.map(({ task }) => task.service))].sort();
  return {
    tasks,
    services: names.map((name) =>
      serviceOf(
        name,
        tasks.filter(({ task }) => task.service === name),
      ),
    ),
    stack: {
      id: staticStackId,
      namespace: defaultNamespace,
      name: staticStackId,
      version: 1,
      removing: false,
      waitingForNodes: [],
      networks: [],
      static: true,
      observedVersion: 1,
    },
  };
}

function serviceOf(name: string, tasks: StaticStack['tasks']): Service {
  // A one-shot task that ended well is not wanted to run any more.
  const wanted = tasks.filter(({ status }) => status?.state !== TaskState.TASK_STATE_COMPLETE);
  const running = wanted.filter(({ status }) => status && isServing({ state: status.state, status }));
  return {
    id: `${staticStackId}.${name}`,
    namespace: defaultNamespace,
    stackId: staticStackId,
    stack: staticStackId,
    name,
    specVersion: 1,
    image: tasks[0]?.task.image ?? '',
    mode: 'global',
    wanted: wanted.length,
    running: running.length,
    labels: {},
    update: UpdateState.UPDATE_STATE_UNSPECIFIED,
    message: '',
    ports: [],
  };
}
