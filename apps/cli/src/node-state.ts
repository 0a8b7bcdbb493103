import type { TaskView } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import { effectiveState, isEnded, stateName } from '@berth/workload';

/** How far the drain of a node is. */
export interface DrainProgress {
  /** Tasks still on the node, each with what it waits for. */
  readonly left: readonly { readonly name: string; readonly why: string }[];
  /** Tasks that left the node and could go nowhere else, each with the reason. */
  readonly pending: readonly { readonly name: string; readonly why: string }[];
}

/**
 * What is left on a node that is drained; the control plane's own tasks stay and do not count. Pure.
 * `hostnameOf` gives a node's name for show.
 */
export function drainProgress(
  views: readonly TaskView[],
  nodeId: string,
  hostnameOf: (nodeId: string) => string,
): DrainProgress {
  const left = views
    .filter(({ task }) => task !== undefined && task.nodeId === nodeId && !task.static)
    .filter(({ task, status }) => task && !isEnded(effectiveState(task, status)) && status?.removed !== true);
  const pending = views.filter(isPending);
  return {
    left: left.map((view) => ({ name: nameOf(view), why: whyLeft(view, views, hostnameOf) })).sort(byName),
    pending: pending
      .filter((view) => !left.some((other) => sameSlot(view, other)))
      .map((view) => ({ name: nameOf(view), why: view.task?.pending?.summary ?? 'pending' }))
      .sort(byName),
  };
}

function whyLeft(view: TaskView, views: readonly TaskView[], hostnameOf: (nodeId: string) => string): string {
  if (view.task?.desired !== DesiredState.DESIRED_STATE_RUNNING) return 'is stopping';
  const next = views.find((other) => other.task?.id !== view.task?.id && isWanted(other) && sameSlot(view, other));
  if (!next?.task) return 'waits for its turn';
  if (isPending(next)) return `its replacement is pending: ${next.task.pending?.summary ?? ''}`;
  const state = stateName(effectiveState(next.task, next.status));
  return `waits until its replacement on ${hostnameOf(next.task.nodeId)} is ready (${state})`;
}

function isWanted({ task }: TaskView): boolean {
  return task?.desired === DesiredState.DESIRED_STATE_RUNNING;
}

function isPending(view: TaskView): boolean {
  return isWanted(view) && view.task?.nodeId === '';
}

function sameSlot(a: TaskView, b: TaskView): boolean {
  return a.task?.serviceId === b.task?.serviceId && a.task?.slot === b.task?.slot;
}

function nameOf({ task }: TaskView): string {
  if (!task) return '';
  return task.slot > 0 ? `${task.stack}_${task.service}.${task.slot}` : `${task.stack}_${task.service}`;
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name.localeCompare(b.name, undefined, { numeric: true });
}
