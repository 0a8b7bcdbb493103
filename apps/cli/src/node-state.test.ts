import { TaskView } from '@berth/contracts/scheduler';
import type { TaskStatus } from '@berth/contracts/workload';
import { DesiredState, PlacementFailure, Task, TaskState } from '@berth/contracts/workload';
import { expect, it } from 'vitest';
import { drainProgress } from './node-state.ts';

const view = (slot: number, nodeId: string, task: Partial<Task> = {}, state?: TaskState): TaskView =>
  TaskView.fromPartial({
    task: Task.fromPartial({
      id: `${slot}-${nodeId}`,
      stack: 'a',
      service: 'web',
      serviceId: 'w',
      slot,
      nodeId,
      desired: DesiredState.DESIRED_STATE_RUNNING,
      state: nodeId === '' ? TaskState.TASK_STATE_PENDING : TaskState.TASK_STATE_ASSIGNED,
      ...task,
    }),
    status: state === undefined ? undefined : ({ state } as Partial<TaskStatus>),
  });
const progress = (...views: TaskView[]) => drainProgress(views, 'n1', (id) => `host-${id}`);
const { TASK_STATE_RUNNING, TASK_STATE_SHUTDOWN, TASK_STATE_STARTING, TASK_STATE_COMPLETE } = TaskState;

it('is over when nothing of the node runs; its static tasks and ended ones do not count', () => {
  expect(
    progress(
      view(1, 'n2', {}, TASK_STATE_RUNNING),
      view(1, 'n1', { desired: DesiredState.DESIRED_STATE_SHUTDOWN }, TASK_STATE_SHUTDOWN),
      view(2, 'n1', {}, TASK_STATE_COMPLETE),
      view(3, 'n1', { static: true }, TASK_STATE_RUNNING),
    ),
  ).toEqual({ left: [], pending: [] });
});

it('says what each task waits for', () => {
  const { left } = progress(
    view(10, 'n1', { desired: DesiredState.DESIRED_STATE_SHUTDOWN }, TASK_STATE_RUNNING),
    view(2, 'n1', {}, TASK_STATE_RUNNING),
    view(2, 'n2', {}, TASK_STATE_STARTING),
    view(3, 'n1', {}, TASK_STATE_RUNNING),
    view(3, '', { pending: PlacementFailure.fromPartial({ nodes: 2, summary: 'no room' }) }),
    view(4, 'n1', {}, TASK_STATE_RUNNING),
  );
  expect(left).toEqual([
    { name: 'a_web.2', why: 'waits until its replacement on host-n2 is ready (starting)' },
    { name: 'a_web.3', why: 'its replacement is pending: no room' },
    { name: 'a_web.4', why: 'waits for its turn' },
    { name: 'a_web.10', why: 'is stopping' },
  ]);
});

it('names tasks that left and can go nowhere', () => {
  const { left, pending } = progress(
    view(1, '', { pending: PlacementFailure.fromPartial({ nodes: 2, summary: 'its volume is on h1' }) }),
  );
  expect(left).toEqual([]);
  expect(pending).toEqual([{ name: 'a_web.1', why: 'its volume is on h1' }]);
});
