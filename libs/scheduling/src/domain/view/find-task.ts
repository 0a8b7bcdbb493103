import type { TaskView } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import { taskName } from '@berth/workload';

/** Shortest beginning of an id that is looked for. */
const prefixMin = 3;

export type HostnameOf = (nodeId: string) => string;

/**
 * The task that a person means: by id, unique beginning of an id, or name (`stack_service.slot`, `service.slot`). Of a
 * slot's tasks the one that should run is meant, else the newest. NotFound; InvalidArgument with reason AMBIGUOUS.
 */
export function findTask(views: readonly TaskView[], text: string, hostnameOf: HostnameOf): TaskView {
  const exact = views.find(({ task }) => task?.id === text);
  if (exact) return exact;
  const named = views.filter(({ task }) => {
    if (!task) return false;
    const name = taskName(task, hostnameOf(task.nodeId));
    return name === text || `${task.stack}_${name}` === text;
  });
  const running = named.filter(({ task }) => task?.desired === DesiredState.DESIRED_STATE_RUNNING);
  // Until another has taken over, the slot's task is the old one.
  const ids = new Set(running.map(({ task }) => task?.id));
  const wanted = running.filter(({ task }) => !ids.has(task?.replaces));
  const candidates = wanted.length > 0 ? wanted : newestOfEachSlot(named);
  if (candidates.length > 0) return only(candidates, text, hostnameOf);
  const begun = text.length < prefixMin ? [] : views.filter(({ task }) => task?.id.startsWith(text));
  if (begun.length > 0) return only(begun, text, hostnameOf);
  throw new BerthError('NotFound', `there is no task ${JSON.stringify(text)}`, { reason: 'NO_SUCH_TASK' });
}

function newestOfEachSlot(views: readonly TaskView[]): TaskView[] {
  const newest = new Map<string, TaskView>();
  for (const view of views) {
    const slot = `${view.task?.serviceId}/${view.task?.slot}/${view.task?.nodeId}`;
    const known = newest.get(slot);
    if (!known || (known.task?.createdAtMs ?? 0) < (view.task?.createdAtMs ?? 0)) newest.set(slot, view);
  }
  return [...newest.values()];
}

function only(views: readonly TaskView[], text: string, hostnameOf: HostnameOf): TaskView {
  const [first, second] = views;
  if (first && !second) return first;
  const names = views
    .slice(0, 5)
    .map(({ task }) => (task ? `${task.stack}_${taskName(task, hostnameOf(task.nodeId))} (${task.id})` : ''));
  throw new BerthError('InvalidArgument', `${JSON.stringify(text)} may mean ${names.join(', ')}`, {
    reason: 'AMBIGUOUS',
  });
}
