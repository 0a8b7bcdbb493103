import type { PortSpec, Task } from '@berth/contracts/workload';

/** What is promised on a node. */
export interface NodeUsage {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly ports: readonly PortSpec[];
  readonly tasks: number;
  /** Tasks of each service, by id. */
  readonly tasksOfService: ReadonlyMap<string, number>;
}

/** A node without a task. */
export const unused: NodeUsage = { cpuMillis: 0, memoryBytes: 0, ports: [], tasks: 0, tasksOfService: new Map() };

/** What tasks hold together. */
export function usageOf(tasks: readonly Task[]): NodeUsage {
  return tasks.reduce(withTask, unused);
}

/** The node with one more task. */
export function withTask(usage: NodeUsage, task: Task): NodeUsage {
  return {
    cpuMillis: usage.cpuMillis + (task.reservations?.cpuMillis ?? 0),
    memoryBytes: usage.memoryBytes + (task.reservations?.memoryBytes ?? 0),
    ports: task.hostPorts.length === 0 ? usage.ports : [...usage.ports, ...task.hostPorts],
    tasks: usage.tasks + 1,
    tasksOfService: new Map(usage.tasksOfService).set(
      task.serviceId,
      (usage.tasksOfService.get(task.serviceId) ?? 0) + 1,
    ),
  };
}
