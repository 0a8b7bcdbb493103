import type { Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import { unmetConstraint } from '../placement/constraints.ts';
import { reconcileSlot } from './reconcile-slot.ts';
import { conclude, groupTasks, reconcileRemoval, versionOf } from './service.ts';
import type { SlotRules } from './slot.ts';
import { removeSlot } from './slot-tasks.ts';
import type { Decision, Limits, NodesView, ServiceScene } from './types.ts';
import type { NamedSlot } from './update.ts';
import { reconcileUpdate } from './update.ts';

/** One task on every eligible node: its slot is the node. */
export function reconcileGlobal(scene: ServiceScene, limits: Limits, nowMs: number): Decision {
  if (scene.removing) return reconcileRemoval(scene);
  const { record, version, nodes } = scene;
  const serviceId = record.service?.id ?? '';
  const name = record.service?.name ?? '';
  const byNode = groupTasks(scene, ({ nodeId, slot }) => (slot === 0 ? nodeId : `slot ${slot}`));
  const slots: NamedSlot[] = [];
  for (const node of eligibleNodes(nodes, version.spec?.constraints ?? [])) {
    const tasks = byNode.get(node.id) ?? [];
    // A paused node keeps what it has and gets nothing new.
    if (tasks.length === 0 && nodes.availability(node.id) === Availability.AVAILABILITY_PAUSE) continue;
    byNode.delete(node.id);
    const rules: SlotRules = {
      specVersion: version.version,
      restartOf: (specVersion) => versionOf(scene, specVersion)?.spec?.restart,
      limits,
      nodes,
      // A node that must be left is none of its nodes.
      mustLeave: () => false,
    };
    const decision = reconcileSlot({ serviceId, number: 0, nodeId: node.id, tasks }, rules, nowMs);
    slots.push({ name: `${name} on ${node.hostname}`, decision });
  }
  // Elsewhere nothing of the service stays; what a lost node had is orphaned, and removed when the node is back.
  const surplus = [...byNode.values()].flatMap((tasks) => removeSlot(tasks, nodes));
  return conclude(scene, slots, reconcileUpdate(scene, slots), surplus);
}

/** Nodes that a global service covers, in the order of their ids. */
export function eligibleNodes(nodes: NodesView, constraints: readonly string[]): Node[] {
  return [...nodes.all()]
    .filter(
      (node) =>
        (node.status === NodeStatus.NODE_STATUS_READY || node.status === NodeStatus.NODE_STATUS_SUSPECT) &&
        !isExcluded(nodes, node.id, constraints),
    )
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

function isExcluded(nodes: NodesView, nodeId: string, constraints: readonly string[]): boolean {
  const node = nodes.get(nodeId);
  return (
    node === undefined ||
    nodes.availability(nodeId) === Availability.AVAILABILITY_DRAIN ||
    unmetConstraint(node, constraints) !== undefined
  );
}
