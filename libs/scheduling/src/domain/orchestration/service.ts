import type { ServiceVersion } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { isGone, removeSlot } from './slot-tasks.ts';
import type { Action, Decision, ServiceScene } from './types.ts';
import type { NamedSlot, UpdateDecision } from './update.ts';

/** What both modes end with: progress that is shown, versions that nobody runs any more, the next look. */
export function conclude(
  scene: ServiceScene,
  slots: readonly NamedSlot[],
  update: UpdateDecision,
  more: readonly Action[],
): Decision {
  const { service } = scene.record;
  const actions = [...slots.flatMap(({ decision }) => decision.actions), ...update.actions, ...more];
  const wanted = slots.length;
  if (
    service &&
    (service.update !== update.update || service.message !== update.message || service.wanted !== wanted)
  ) {
    const { update: state, message } = update;
    actions.push({ kind: 'show-service', serviceId: service.id, update: state, message, wanted });
  }
  actions.push(...unusedVersions(scene));
  const wakes = slots.map(({ decision }) => decision.wakeAtMs).filter((atMs) => atMs !== undefined);
  return wakes.length === 0 ? { actions } : { actions, wakeAtMs: Math.min(...wakes) };
}

/** Takes a whole service away: its tasks first, then volumes that stayed where it has no task any more (it was scaled to
 *  nothing, say), and at last itself. */
export function reconcileRemoval(scene: ServiceScene): Decision {
  const serviceId = scene.record.service?.id ?? '';
  if (scene.tasks.length > 0) return { actions: removeSlot(scene.tasks, scene.nodes) };
  const specVersion = scene.version.version;
  const left = scene.volumeNodes.filter((nodeId) => !isGone(nodeId, scene.nodes));
  if (left.length > 0) {
    return { actions: left.map((nodeId) => ({ kind: 'create-cleanup', serviceId, specVersion, nodeId })) };
  }
  return { actions: [{ kind: 'delete-service', serviceId }] };
}

/** A spec version that stands in the store. */
export function versionOf({ versions }: ServiceScene, specVersion: number): ServiceVersion | undefined {
  return versions.find(({ version }) => version === specVersion);
}

/** Tasks by a key. */
export function groupTasks<K>(scene: ServiceScene, keyOf: (task: Task) => K): Map<K, ServiceScene['tasks'][number][]> {
  const groups = new Map<K, ServiceScene['tasks'][number][]>();
  for (const seen of scene.tasks) {
    const key = keyOf(seen.task);
    const group = groups.get(key);
    if (group) group.push(seen);
    else groups.set(key, [seen]);
  }
  return groups;
}

function unusedVersions({ record, version, versions, tasks }: ServiceScene): Action[] {
  const used = new Set(tasks.map(({ task }) => task.specVersion)).add(version.version);
  const serviceId = record.service?.id ?? '';
  return versions
    .filter((candidate) => candidate.version < version.version && !used.has(candidate.version))
    .map((candidate) => ({ kind: 'delete-version', serviceId, version: candidate.version }));
}
