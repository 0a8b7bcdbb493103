import type { ContainerState } from '@berth/kernel';
import type { NetworkJoin } from './task-network.ts';

/** Labels that make a container Berth's; all that a restarted agent needs to know its own again. */
export const label = {
  cluster: 'berth.cluster',
  task: 'berth.task',
  run: 'berth.run',
  /** Name of the stack; its id is another label. */
  stack: 'berth.stack',
  stackId: 'berth.stack-id',
  service: 'berth.service',
  node: 'berth.node',
  /** "true" on static tasks. */
  static: 'berth.static',
  /** The task's networks: JSON of NetworkJoin[]. */
  joins: 'berth.joins',
} as const;

/** Task and run of a container, or undefined if its labels don't say so. */
export function taskOf(container: Pick<ContainerState, 'labels'>): { taskId: string; run: number } | undefined {
  const taskId = container.labels[label.task];
  const run = Number(container.labels[label.run]);
  return taskId === undefined || taskId === '' || !Number.isInteger(run) || run < 1 ? undefined : { taskId, run };
}

/** The networks a container was made for; none if the label is absent or damaged. */
export function joinsOf(container: Pick<ContainerState, 'labels'>): readonly NetworkJoin[] {
  const text = container.labels[label.joins];
  if (text === undefined) return [];
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.filter(isJoin) : [];
  } catch {
    return [];
  }
}

function isJoin(value: unknown): value is NetworkJoin {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Record<string, unknown>;
  return ['networkId', 'network', 'dockerNetwork', 'ip'].every((name) => typeof fields[name] === 'string');
}
