import type { Change, Service, Stack, TaskView } from '@berth/contracts/scheduler';
import { UpdateState } from '@berth/contracts/scheduler';
import { DesiredState, Health, TaskState } from '@berth/contracts/workload';
import { effectiveState, isEnded } from '@berth/workload';

/** One stack as its Watch shows it. Pure: fed with changes, asked for a verdict. */
export class StackState {
  stack: Stack | undefined;
  readonly services = new Map<string, Service>();
  readonly tasks = new Map<string, TaskView>();
  #seen = false;

  reset(): void {
    this.stack = undefined;
    this.services.clear();
    this.tasks.clear();
  }

  apply(change: Change): void {
    const { resource, key } = change;
    switch (resource?.$case) {
      case 'stack':
        this.stack = resource.value;
        this.#seen = true;
        break;
      case 'service':
        this.services.set(key, resource.value);
        break;
      case 'task':
        this.tasks.set(key, resource.value);
        break;
      case undefined:
        if (key.startsWith('stack/')) this.stack = undefined;
        this.services.delete(key);
        this.tasks.delete(key);
        break;
      default:
    }
  }

  /** The stack was there and is there no more. */
  get gone(): boolean {
    return this.#seen && this.stack === undefined;
  }

  /** Tasks that should run, by service and slot. */
  current(): TaskView[] {
    return [...this.tasks.values()]
      .filter(({ task }) => task?.desired === DesiredState.DESIRED_STATE_RUNNING)
      .sort(byServiceAndSlot);
  }

  /** Converged at a version of the stack, not yet, or never without another change; with what is still awaited. */
  verdict(version: number): {
    readonly kind: 'converged' | 'converging' | 'stuck';
    readonly reasons: readonly string[];
  } {
    if (!this.stack || this.stack.observedVersion < version) return { kind: 'converging', reasons: ['being planned'] };
    const reasons: string[] = [];
    let stuck = false;
    for (const service of this.services.values()) {
      const done = this.#doneSlots(service);
      if (service.update === UpdateState.UPDATE_STATE_HALTED) stuck = true;
      if (done >= service.wanted && service.update === UpdateState.UPDATE_STATE_UNSPECIFIED) continue;
      reasons.push(
        `${service.name}: ${done} of ${service.wanted} ready${service.message === '' ? '' : `; ${service.message}`}`,
      );
    }
    for (const view of this.current()) reasons.push(...reasonOf(view));
    const leaving = [...this.tasks.values()].filter(isLeaving).length + this.#surplus();
    if (leaving > 0) reasons.push(`${leaving} old task(s) still stopping`);
    if (reasons.length === 0) return { kind: 'converged', reasons };
    stuck ||= this.current().some(hasFailedForGood);
    return { kind: stuck ? 'stuck' : 'converging', reasons };
  }

  /** Slots that nothing asks for any more, and whose tasks have yet to be told so. */
  #surplus(): number {
    const slots = new Map<string, Set<number>>();
    for (const { task } of this.current()) {
      if (task && task.slot > 0) slots.set(task.serviceId, (slots.get(task.serviceId) ?? new Set()).add(task.slot));
    }
    const wantedOf = new Map([...this.services.values()].map(({ id, wanted }) => [id, wanted]));
    return [...slots].reduce((sum, [id, { size }]) => sum + Math.max(0, size - (wantedOf.get(id) ?? 0)), 0);
  }

  /** Slots with a task that is ready: one that is being moved to another node has two tasks for a while. */
  #doneSlots(service: Service): number {
    const ready = this.current().filter(
      ({ task, status }) =>
        task?.serviceId === service.id && task.specVersion === service.specVersion && isReady({ task, status }),
    );
    return new Set(ready.map(({ task }) => task?.slot || task?.nodeId)).size;
  }
}

function isReady({ task, status }: TaskView): boolean {
  if (!task) return false;
  const state = effectiveState(task, status);
  if (state === TaskState.TASK_STATE_COMPLETE) return true;
  const healthy = status?.health === Health.HEALTH_UNSPECIFIED || status?.health === Health.HEALTH_HEALTHY;
  return state === TaskState.TASK_STATE_RUNNING && healthy;
}

function hasFailedForGood({ task, status }: TaskView): boolean {
  return task !== undefined && effectiveState(task, status) === TaskState.TASK_STATE_FAILED;
}

/** Told to stop, and not yet seen to have stopped; or to leave no trace, and still there. On a lost node nothing is awaited. */
function isLeaving({ task, status }: TaskView): boolean {
  if (!task || task.desired === DesiredState.DESIRED_STATE_RUNNING) return false;
  if (task.nodeId === '' || task.state === TaskState.TASK_STATE_ORPHANED) return false;
  return task.desired === DesiredState.DESIRED_STATE_REMOVE || !isEnded(effectiveState(task, status));
}

function reasonOf({ task, status }: TaskView): string[] {
  if (!task) return [];
  const name = `${task.service}.${task.slot > 0 ? task.slot : task.nodeId.slice(0, 8)}`;
  if (task.nodeId === '' && task.pending) return [`${name}: pending: ${task.pending.summary}`];
  if (status && status.message !== '' && !isReady({ task, status })) return [`${name}: ${status.message}`];
  return [];
}

function byServiceAndSlot(a: TaskView, b: TaskView): number {
  const service = (a.task?.service ?? '').localeCompare(b.task?.service ?? '');
  return (
    service || (a.task?.slot ?? 0) - (b.task?.slot ?? 0) || (a.task?.nodeId ?? '').localeCompare(b.task?.nodeId ?? '')
  );
}
