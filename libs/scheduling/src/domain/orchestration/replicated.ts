import { Availability, UpdateState } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import { isServing } from '@berth/workload';
import { unmetConstraint } from '../placement/constraints.ts';
import { reconcileSlot } from './reconcile-slot.ts';
import { conclude, groupTasks, reconcileRemoval, versionOf } from './service.ts';
import type { SlotRules } from './slot.ts';
import { removeSlot } from './slot-tasks.ts';
import type { Decision, Limits, SeenTask, ServiceScene } from './types.ts';
import type { NamedSlot } from './update.ts';
import { reconcileUpdate } from './update.ts';

/** A number of interchangeable tasks in numbered slots; more tasks take the lowest free numbers. */
export function reconcileReplicated(scene: ServiceScene, limits: Limits, nowMs: number): Decision {
  if (scene.removing) return reconcileRemoval(scene);
  const { nodes, record, version } = scene;
  const serviceId = record.service?.id ?? '';
  const name = record.service?.name ?? '';
  const bySlot = groupTasks(scene, ({ slot }) => slot);
  const mustLeave = leaving(scene);
  const numbers = slotsToKeep(bySlot, record.replicas, mustLeave);
  const halted = record.service?.update === UpdateState.UPDATE_STATE_HALTED;
  const slots = numbers.map((number): NamedSlot => {
    const tasks = bySlot.get(number) ?? [];
    bySlot.delete(number);
    const rules: SlotRules = {
      // A halted update goes no further, whatever happens to a slot.
      specVersion: (halted ? lastVersion(tasks, scene) : undefined) ?? version.version,
      restartOf: (specVersion) => versionOf(scene, specVersion)?.spec?.restart,
      limits,
      nodes,
      mustLeave,
    };
    const decision = reconcileSlot({ serviceId, number, nodeId: '', tasks }, rules, nowMs);
    return { name: `${name}.${number}`, decision };
  });
  // What is left are slots that are too many, and those of another mode.
  const surplus = [...bySlot.values()].flatMap((tasks) => removeSlot(tasks, nodes));
  return conclude(scene, slots, reconcileUpdate(scene, slots), surplus);
}

/** Tells of a task whose node is there, but drained, or no longer what the task's own version asks of a node. */
function leaving(scene: ServiceScene): SlotRules['mustLeave'] {
  const known = new Map<string, boolean>();
  return ({ task: { nodeId, specVersion } }) => {
    const key = `${specVersion}/${nodeId}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const node = scene.nodes.get(nodeId);
    const constraints = versionOf(scene, specVersion)?.spec?.constraints ?? [];
    const leaves =
      node !== undefined &&
      (scene.nodes.availability(nodeId) === Availability.AVAILABILITY_DRAIN ||
        unmetConstraint(node, constraints) !== undefined);
    known.set(key, leaves);
    return leaves;
  };
}

/** Spec version of a slot's newest task, if that still stands. */
function lastVersion(tasks: readonly SeenTask[], scene: ServiceScene): number | undefined {
  const newest = tasks.reduce<SeenTask | undefined>(
    (best, seen) => (best && best.createRevision >= seen.createRevision ? best : seen),
    undefined,
  );
  return newest && versionOf(scene, newest.task.specVersion)?.version;
}

/**
 * Numbers of the slots that the service has, in order. Where there are too many, those go first that do not serve, then
 * those on nodes to be left, then on the node with most of the service's tasks, then the highest.
 */
function slotsToKeep(
  bySlot: ReadonlyMap<number, readonly SeenTask[]>,
  replicas: number,
  mustLeave: SlotRules['mustLeave'],
): number[] {
  const standing = [...bySlot]
    .filter(
      ([number, tasks]) => number > 0 && tasks.some(({ task }) => task.desired !== DesiredState.DESIRED_STATE_REMOVE),
    )
    .map(([number, tasks]): StandingSlot => ({ number, ...standingOf(tasks, mustLeave) }))
    .sort((a, b) => a.number - b.number);
  const kept = new Set(standing.map(({ number }) => number));
  const crowds = new Map<string, StandingSlot[]>();
  for (const slot of standing) crowds.set(slot.nodeId, [...(crowds.get(slot.nodeId) ?? []), slot]);
  for (const crowd of crowds.values()) crowd.sort((a, b) => b.keep - a.keep);
  while (kept.size > replicas) {
    // The last of each node's is the first of them to go.
    const worst = [...crowds.values()].reduce((a, b) => (goesBefore(a, b) ? a : b)).pop();
    if (worst) kept.delete(worst.number);
  }
  for (let number = 1; kept.size < replicas; number += 1) kept.add(number);
  return [...kept].sort((a, b) => a - b);
}

interface StandingSlot {
  readonly number: number;
  readonly nodeId: string;
  /** 0: it does not serve; 1: its node is to be left; 2: all is well. */
  readonly keep: number;
}

function standingOf(tasks: readonly SeenTask[], mustLeave: SlotRules['mustLeave']): Omit<StandingSlot, 'number'> {
  const wanted = tasks.filter(({ task }) => task.desired === DesiredState.DESIRED_STATE_RUNNING);
  const best = wanted.find((seen) => isServing(seen)) ?? wanted[0];
  const keep = best === undefined || !isServing(best) ? 0 : mustLeave(best) ? 1 : 2;
  return { keep, nodeId: best?.task.nodeId ?? '' };
}

/** Does a node's last slot go before another's? */
function goesBefore(a: readonly StandingSlot[], b: readonly StandingSlot[]): boolean {
  const [one, other] = [a.at(-1), b.at(-1)];
  if (!one || !other) return one !== undefined;
  return (one.keep - other.keep || b.length - a.length || other.number - one.number) < 0;
}
