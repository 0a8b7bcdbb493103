import type { Node } from '@berth/contracts/registry';
import { Node as NodeMessage, NodeStatus } from '@berth/contracts/registry';
import type { ServiceSpec, StackSpec } from '@berth/contracts/workload';
import { ServiceSpec as ServiceSpecMessage, StackSpec as StackSpecMessage } from '@berth/contracts/workload';

type Part<T> = T extends readonly (infer U)[] ? Part<U>[] : T extends object ? { [K in keyof T]?: Part<T[K]> } : T;

/** A replicated service of one task, with what the test says beside. */
export function serviceSpec(name: string, more: Part<ServiceSpec> = {}): ServiceSpec {
  return ServiceSpecMessage.fromJSON(
    ServiceSpecMessage.toJSON(
      ServiceSpecMessage.fromPartial({
        mode: { $case: 'replicated', value: { replicas: 1 } },
        container: { image: `${name}:1` },
        ...more,
        name,
      } as ServiceSpec),
    ),
  );
}

export function replicas(count: number): ServiceSpec['mode'] {
  return { $case: 'replicated', value: { replicas: count } };
}

export function stackSpec(name: string, services: readonly ServiceSpec[], more: Part<StackSpec> = {}): StackSpec {
  return StackSpecMessage.fromPartial({ namespace: 'default', name, ...more, services } as StackSpec);
}

/** A ready node with 4 cores and 8 GiB. */
export function nodeFacts(id: string, more: Part<Node> = {}): Node {
  return NodeMessage.fromPartial({
    id,
    hostname: `host-${id}`,
    address: '198.18.0.1',
    agentPort: 7431,
    resources: { cpuMillis: 4000, memoryBytes: 8 * 1024 ** 3 },
    os: 'linux',
    architecture: 'x86_64',
    status: NodeStatus.NODE_STATUS_READY,
    dispatchSynced: true,
    ...more,
  } as Node);
}
