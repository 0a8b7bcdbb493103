import { Node } from '@berth/contracts/registry';
import { TaskView } from '@berth/contracts/scheduler';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import { expect, it } from 'vitest';
import { checkRemovable } from './removal.ts';

const { DESIRED_STATE_RUNNING: running } = DesiredState;

it.each([
  ['one that has done its work stays where it was, and is no reason', TaskState.TASK_STATE_COMPLETE, undefined],
  ['one that failed for good is none either', TaskState.TASK_STATE_FAILED, undefined],
  ['one that waits for its next run is one', TaskState.TASK_STATE_RESTARTING, 'NODE_HAS_TASKS'],
  ['one that runs is one', TaskState.TASK_STATE_RUNNING, 'NODE_HAS_TASKS'],
])('of tasks that nobody told to stop, %s', (_, state, reason) => {
  const node = Node.fromPartial({ id: 'n1', hostname: 'h1' });
  const tasks = [TaskView.fromPartial({ task: { nodeId: 'n1', desired: running }, status: { state } })];
  const check = () => checkRemovable(node, { force: false, tasksSynced: true, tasks });
  if (reason === undefined) expect(check).not.toThrow();
  else expect(check).toThrow(expect.objectContaining({ reason }));
});
