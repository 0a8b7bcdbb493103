import type { FieldChange, ServiceChange } from '@berth/contracts/scheduler';
import { ChangeAction } from '@berth/contracts/scheduler';
import type { ServiceSpec, StackSpec } from '@berth/contracts/workload';
import { modeOf, replicasOf, sameVersion, versionContent } from './derive.ts';

/** How many nodes a global service would run on. */
export type EligibleNodes = (spec: ServiceSpec) => number;

interface Named {
  readonly name: string;
}

/** What accepting `after` in place of `before` changes, by kind and name; nothing when they say the same. */
export function diffStack(before: StackSpec | undefined, after: StackSpec, eligible: EligibleNodes): ServiceChange[] {
  const stackBefore = before ?? {
    namespace: after.namespace,
    name: after.name,
    services: [],
    networks: [],
    volumes: [],
  };
  return [
    ...diffNamed('service', stackBefore.services, after.services, (was, now) => ({
      ...noTasks,
      ...taskCounts(stackBefore, was, after, now, eligible),
    })),
    ...diffNamed('network', stackBefore.networks, after.networks, () => noTasks),
    ...diffNamed('volume', stackBefore.volumes, after.volumes, () => noTasks),
  ];
}

type TaskCounts = Pick<ServiceChange, 'tasksCreated' | 'tasksReplaced' | 'tasksRemoved'>;
const noTasks: TaskCounts = { tasksCreated: 0, tasksReplaced: 0, tasksRemoved: 0 };

function diffNamed<T extends Named>(
  kind: string,
  before: readonly T[],
  after: readonly T[],
  counts: (was: T | undefined, now: T | undefined) => TaskCounts,
): ServiceChange[] {
  const was = new Map(before.map((item) => [item.name, item]));
  const now = new Map(after.map((item) => [item.name, item]));
  const names = [...new Set([...was.keys(), ...now.keys()])].sort();
  const changes: ServiceChange[] = [];
  for (const name of names) {
    const [old, next] = [was.get(name), now.get(name)];
    const tasks = counts(old, next);
    if (!old) changes.push({ kind, name, action: ChangeAction.CHANGE_ACTION_CREATE, fields: [], ...tasks });
    else if (!next) changes.push({ kind, name, action: ChangeAction.CHANGE_ACTION_REMOVE, fields: [], ...tasks });
    else {
      const fields = diffFields(old, next);
      // Tasks are replaced without a field of the service's own where a network or volume of it differs.
      if (fields.length === 0 && tasks.tasksReplaced === 0) continue;
      changes.push({ kind, name, action: ChangeAction.CHANGE_ACTION_UPDATE, fields, ...tasks });
    }
  }
  return changes;
}

function taskCounts(
  stackBefore: StackSpec,
  was: ServiceSpec | undefined,
  stackAfter: StackSpec,
  now: ServiceSpec | undefined,
  eligible: EligibleNodes,
): Partial<TaskCounts> {
  const wanted = (spec: ServiceSpec): number => (modeOf(spec) === 'global' ? eligible(spec) : replicasOf(spec));
  const [from, to] = [was ? wanted(was) : 0, now ? wanted(now) : 0];
  if (!was || !now) return { tasksCreated: to, tasksRemoved: from };
  const [versionBefore, versionAfter] = [versionContent(stackBefore, was), versionContent(stackAfter, now)];
  // Slots of one mode are no slots of the other.
  if (modeOf(was) !== modeOf(now)) return { tasksCreated: to, tasksRemoved: from };
  return {
    tasksCreated: Math.max(0, to - from),
    tasksRemoved: Math.max(0, from - to),
    tasksReplaced: sameVersion(versionBefore, versionAfter) ? 0 : Math.min(from, to),
  };
}

/** Fields whose values differ, by path. Of environment variables only the names are shown. */
export function diffFields(before: unknown, after: unknown): FieldChange[] {
  const [was, now] = [flatten(before), flatten(after)];
  return [...new Set([...was.keys(), ...now.keys()])]
    .sort()
    .filter((path) => was.get(path) !== now.get(path))
    .map((path) =>
      path.startsWith('container.environment.')
        ? { path, before: '', after: '' }
        : { path, before: was.get(path) ?? '', after: now.get(path) ?? '' },
    );
}

/** Leaves of a message by path; a list is one leaf. Zero values are unset, as on the wire, but for what `optional` sets. */
function flatten(value: unknown, path = '', found = new Map<string, string>()): Map<string, string> {
  if (Array.isArray(value)) {
    if (value.length > 0) found.set(path, list(value));
  } else if (value !== null && typeof value === 'object') {
    const fields = Object.entries(value);
    // A oneof shows as its case: "mode.replicated.replicas".
    const chosen = '$case' in value && typeof value.$case === 'string' ? value.$case : undefined;
    if (chosen !== undefined) {
      found.set(path, chosen);
      flatten('value' in value ? value.value : undefined, join(path, chosen), found);
    } else if ('values' in value && fields.length === 1) {
      // A list whose emptiness means something.
      found.set(path, list(value.values));
    } else for (const [name, field] of fields) flatten(field, join(path, name), found);
  } else if (isMapLeaf(path) ? value !== undefined : value) {
    found.set(path, String(value));
  }
  return found;
}

/** An environment variable set to nothing differs from one that is not set. */
function isMapLeaf(path: string): boolean {
  return path.startsWith('container.environment.') || /(^|\.)(labels|sysctls|driverOpts)\./u.test(path);
}

function list(values: unknown): string {
  return JSON.stringify(values);
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}
