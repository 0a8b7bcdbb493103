import type { Change } from '@berth/contracts/scheduler';
import { Service, Stack, TaskView, UpdateState } from '@berth/contracts/scheduler';
import { DesiredState, Health, Task, TaskState, TaskStatus } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import { StackState } from './stack-state.ts';

const stack = (over: Partial<Stack> = {}): Change => ({
  scopes: ['stack.s'],
  key: 'stack/s',
  resource: {
    $case: 'stack',
    value: Stack.fromPartial({ id: 's', name: 's', version: 2, observedVersion: 2, ...over }),
  },
});
const service = (over: Partial<Service> = {}): Change => ({
  scopes: ['stack.s'],
  key: 'service/w',
  resource: {
    $case: 'service',
    value: Service.fromPartial({ id: 'w', name: 'web', specVersion: 3, wanted: 1, ...over }),
  },
});
const task = (id: string, task: Partial<Task>, status?: Partial<TaskStatus>): Change => ({
  scopes: ['stack.s'],
  key: `task/${id}`,
  resource: {
    $case: 'task',
    value: TaskView.fromPartial({
      task: Task.fromPartial({
        id,
        serviceId: 'w',
        service: 'web',
        specVersion: 3,
        slot: 1,
        nodeId: 'n',
        desired: DesiredState.DESIRED_STATE_RUNNING,
        state: TaskState.TASK_STATE_ASSIGNED,
        ...task,
      }),
      status: status && TaskStatus.fromPartial({ taskId: id, run: 1, ...status }),
    }),
  },
});
const judge = (...changes: Change[]) => {
  const state = new StackState();
  for (const change of changes) state.apply(change);
  return state.verdict(2);
};
const running = { state: TaskState.TASK_STATE_RUNNING };

describe('StackState', () => {
  it('has converged when every slot runs at the current version and nothing old is left', () => {
    expect(judge(stack(), service(), task('a', {}, running)).kind).toBe('converged');
    expect(judge(stack(), service(), task('a', {}, { state: TaskState.TASK_STATE_COMPLETE })).kind).toBe('converged');
  });

  it.each([
    ['the services stand for an older version', [stack({ observedVersion: 1 }), service(), task('a', {}, running)]],
    ['a slot is at an older spec', [stack(), service(), task('a', { specVersion: 2 }, running)]],
    ['health is not known yet', [stack(), service(), task('a', {}, { ...running, health: Health.HEALTH_STARTING })]],
    [
      'an old task has not stopped',
      [
        stack(),
        service(),
        task('a', {}, running),
        task('b', { desired: DesiredState.DESIRED_STATE_SHUTDOWN }, running),
      ],
    ],
    [
      'a slot too many has yet to be told',
      [stack(), service(), task('a', {}, running), task('b', { slot: 2 }, running)],
    ],
    [
      'a service that is gone still has a task',
      [stack(), service(), task('a', {}, running), task('b', { serviceId: 'x' }, running)],
    ],
    ['an update goes on', [stack(), service({ update: UpdateState.UPDATE_STATE_UPDATING }), task('a', {}, running)]],
  ])('is converging while %s', (_, changes) => {
    const verdict = judge(...changes);
    expect(verdict.kind).toBe('converging');
    expect(verdict.reasons).not.toEqual([]);
  });

  it('is stuck when an update halted or a slot failed for good, and says why', () => {
    const halted = judge(stack(), service({ update: UpdateState.UPDATE_STATE_HALTED, message: 'web.1 failed' }));
    expect(halted).toEqual({ kind: 'stuck', reasons: ['web: 0 of 1 ready; web.1 failed'] });
    const failed = judge(
      stack(),
      service(),
      task('a', {}, { state: TaskState.TASK_STATE_FAILED, message: 'exit code 3' }),
    );
    expect(failed.kind).toBe('stuck');
    expect(failed.reasons).toContain('web.1: exit code 3');
  });

  it('counts a slot once, also while it has two tasks on its way to another node', () => {
    const two = service({ wanted: 2 });
    const moving = [task('a', {}, running), task('b', { replaces: 'a' }, running)];
    expect(judge(stack(), two, ...moving, task('c', { slot: 2 })).kind).toBe('converging');
    expect(judge(stack(), two, ...moving, task('c', { slot: 2 }, running)).kind).toBe('converged');
  });

  it('awaits surplus tasks until nothing of them is left, but not those of a lost node', () => {
    const surplus = { slot: 2, desired: DesiredState.DESIRED_STATE_REMOVE };
    const ended = { state: TaskState.TASK_STATE_SHUTDOWN };
    expect(judge(stack(), service(), task('a', {}, running), task('b', surplus, ended)).kind).toBe('converging');
    const orphan = { ...surplus, state: TaskState.TASK_STATE_ORPHANED };
    expect(judge(stack(), service(), task('a', {}, running), task('b', orphan, running)).kind).toBe('converged');
  });

  it('tells the reason of a pending task', () => {
    const pending = {
      nodeId: '',
      state: TaskState.TASK_STATE_PENDING,
      pending: { summary: 'no node fits', filters: [], nodes: 1, passing: false },
    };
    expect(judge(stack(), service(), task('a', pending)).reasons).toContain('web.1: pending: no node fits');
  });

  it('is gone only after it was there', () => {
    const state = new StackState();
    expect(state.gone).toBe(false);
    state.apply(stack());
    state.apply({ scopes: [], key: 'stack/s', resource: undefined });
    expect(state.gone).toBe(true);
  });
});
