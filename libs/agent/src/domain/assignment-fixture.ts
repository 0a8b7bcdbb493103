// What tests assign; no test of its own.
import type { Assignment } from '@berth/contracts/scheduler';
import { Assignment as Assignments } from '@berth/contracts/scheduler';
import type { ContainerSpec, ServiceSpec, Task } from '@berth/contracts/workload';
import {
  ContainerSpec as ContainerSpecs,
  DesiredState,
  NetworkMode,
  RestartCondition,
  ServiceSpec as ServiceSpecs,
  Task as Tasks,
} from '@berth/contracts/workload';

export interface FixtureOptions {
  readonly task?: Partial<Task>;
  readonly spec?: Partial<ServiceSpec>;
  readonly container?: Partial<ContainerSpec>;
  readonly assignment?: Partial<Assignment>;
}

/** A task that is to run on the host's network, restarted at once after any end, unless told otherwise. */
export function assignmentFixture(id: string, options: FixtureOptions = {}): Assignment {
  const service = options.task?.service ?? 'web';
  return Assignments.fromPartial({
    task: Tasks.fromPartial({
      id,
      namespace: 'default',
      stackId: 'stack1',
      stack: 'shop',
      service,
      slot: 1,
      specVersion: 1,
      nodeId: 'node1',
      desired: DesiredState.DESIRED_STATE_RUNNING,
      ...options.task,
    }),
    spec: ServiceSpecs.fromPartial({
      name: service,
      restart: { condition: RestartCondition.RESTART_CONDITION_ANY, delayMs: 100 },
      ...options.spec,
      container: ContainerSpecs.fromPartial({
        image: 'test/shell',
        networkMode: NetworkMode.NETWORK_MODE_HOST,
        ...options.container,
      }),
    }),
    ...options.assignment,
  });
}
