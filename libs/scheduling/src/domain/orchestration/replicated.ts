import { conclude, groupTasks, reconcileRemoval } from './service.ts';
import { reconcileSlot, removeSlot } from './slot.ts';
import type { Decision, Limits, ServiceScene } from './types.ts';
import type { NamedSlot } from './update.ts';
import { reconcileUpdate } from './update.ts';

/** A number of interchangeable tasks in slots 1 to `replicas`; scaling down empties the highest slots. */
export function reconcileReplicated(scene: ServiceScene, limits: Limits, nowMs: number): Decision {
  if (scene.removing) return reconcileRemoval(scene);
  const { record, version, nodes } = scene;
  const serviceId = record.service?.id ?? '';
  const name = record.service?.name ?? '';
  const bySlot = groupTasks(scene, ({ slot }) => String(slot));
  const slots: NamedSlot[] = [];
  for (let number = 1; number <= record.replicas; number += 1) {
    const tasks = bySlot.get(String(number)) ?? [];
    bySlot.delete(String(number));
    const rules = { specVersion: version.version, restart: version.spec?.restart, limits, nodes };
    const decision = reconcileSlot({ serviceId, number, nodeId: '', tasks }, rules, nowMs);
    slots.push({ name: `${name}.${number}`, decision });
  }
  // What is left are slots above the number of replicas, and those of another mode.
  const surplus = [...bySlot.values()].flatMap((tasks) => removeSlot(tasks, nodes));
  return conclude(scene, slots, reconcileUpdate(scene, slots), surplus);
}
