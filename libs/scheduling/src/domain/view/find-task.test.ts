import type { TaskView } from '@berth/contracts/scheduler';
import { DesiredState, Task, TaskState, TaskStatus } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import { findTask } from './find-task.ts';
import { isHistory, listTasks } from './listing.ts';

const view = (id: string, more: Partial<Task> = {}, state: TaskState = TaskState.TASK_STATE_RUNNING): TaskView => ({
  task: Task.fromPartial({
    id,
    namespace: 'default',
    stack: 'shop',
    service: 'web',
    serviceId: 'web',
    slot: 1,
    desired: DesiredState.DESIRED_STATE_RUNNING,
    state: TaskState.TASK_STATE_ASSIGNED,
    ...more,
  }),
  status: TaskStatus.fromPartial({ taskId: id, state }),
});
const old = { desired: DesiredState.DESIRED_STATE_SHUTDOWN };
const hostnameOf = (nodeId: string): string => `host-${nodeId}`;
const views = [
  view('aaa1', { ...old, createdAtMs: 1 }, TaskState.TASK_STATE_SHUTDOWN),
  view('aaa2', { createdAtMs: 2 }),
  view('bbb1', { slot: 2, createdAtMs: 3 }),
  view('ccc1', { slot: 3, ...old, createdAtMs: 4 }, TaskState.TASK_STATE_FAILED),
  view('ccc2', { slot: 3, ...old, createdAtMs: 5 }, TaskState.TASK_STATE_FAILED),
  view('ddd1', { stack: 'blog', serviceId: 'blog-web', slot: 2 }),
  view('eee1', { service: 'all', serviceId: 'all', slot: 0, nodeId: 'n1' }),
];

describe('findTask', () => {
  it('means the old task of a slot until another has taken over', () => {
    const both = [view('new', { replaces: 'old' }), view('old')];
    expect(findTask(both, 'web.1', hostnameOf).task?.id).toBe('old');
    expect(findTask([view('new', { replaces: 'old' }), view('old', old)], 'web.1', hostnameOf).task?.id).toBe('new');
  });

  it.each([
    ['an id', 'aaa1', 'aaa1'],
    ['a unique beginning', 'bbb', 'bbb1'],
    ['a name: the one that should run', 'web.1', 'aaa2'],
    ['a full name', 'shop_web.2', 'bbb1'],
    ['a slot without one: the newest', 'web.3', 'ccc2'],
    ['a global task by its host', 'all.host-n1', 'eee1'],
  ])('%s', (_what, text, id) => expect(findTask(views, text, hostnameOf).task?.id).toBe(id));

  it.each([
    ['web.2', 'AMBIGUOUS'],
    ['aaa', 'AMBIGUOUS'],
    ['bb', 'NO_SUCH_TASK'],
    ['web.9', 'NO_SUCH_TASK'],
  ])('refuses %s: %s', (text, reason) => {
    expect(() => findTask(views, text, hostnameOf)).toThrow(expect.objectContaining({ reason }));
  });
});

it('lists by stack, service and slot, the newest of a slot first, history only when asked for', () => {
  const resources = new Map(
    views.map((value) => [value.task?.id ?? '', { scopes: [], key: '', resource: { $case: 'task' as const, value } }]),
  );
  const ids = (all: boolean) =>
    listTasks(resources, { namespace: '', stack: 'shop', service: '', all }).map(({ task }) => task?.id);
  expect(ids(true)).toEqual(['eee1', 'aaa2', 'aaa1', 'bbb1', 'ccc2', 'ccc1']);
  expect(ids(false)).toEqual(['eee1', 'aaa2', 'bbb1']);
  expect(isHistory(view('x', old, TaskState.TASK_STATE_RUNNING))).toBe(false);
});
