import { Stack } from '@berth/contracts/scheduler';
import type { StackSpec } from '@berth/contracts/workload';
import { DesiredState, ServiceSpec, Task } from '@berth/contracts/workload';
import type { ContainerView, HostView, StoreView } from './observation.ts';

/** A small world in which all is as promised; tests break one thing at a time. */
export const compose = `
name: shop
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "echo $$HOME"]
    environment: { GREETING: hello, COUNT: 3 }
    deploy: { replicas: 2 }
  probe:
    image: busybox:latest
    deploy: { mode: global }
`;

const serviceFields = {
  web: { command: ['sh', '-c', 'echo $HOME'], environment: { GREETING: 'hello', COUNT: '3', PATH: '/bin' } },
  probe: { command: [], environment: {} },
};

export interface Place {
  readonly service: 'web' | 'probe';
  readonly slot: number;
  readonly host: string;
  readonly task: string;
  readonly ip: string;
}

export const places: readonly Place[] = [
  { service: 'web', slot: 1, host: 'h1', task: 'aaaaaaaaaaaa', ip: '198.19.0.2' },
  { service: 'web', slot: 2, host: 'h2', task: 'bbbbbbbbbbbb', ip: '198.19.0.66' },
  { service: 'probe', slot: 0, host: 'h1', task: 'cccccccccccc', ip: '198.19.0.3' },
  { service: 'probe', slot: 0, host: 'h2', task: 'dddddddddddd', ip: '198.19.0.67' },
];

export function container(place: Place, over: Partial<ContainerView> = {}): ContainerView {
  const { service, slot, host, task, ip } = place;
  return {
    id: `${task}-container`,
    name: `berth-${task}-1`,
    host,
    hostname: `${service}-${slot > 0 ? slot : host}-${task.slice(0, 6)}`,
    labels: { 'berth.task': task, 'berth.stack': 'shop', 'berth.service': service, 'berth.node': `node-${host}` },
    image: 'busybox:latest',
    running: true,
    health: undefined,
    startedAt: '2026-01-01T00:00:00.000000001Z',
    restarts: 0,
    addresses: [{ network: 'net', ip }],
    ...serviceFields[service],
    ...over,
  };
}

export function hostsOf(containers: readonly ContainerView[]): HostView[] {
  return ['h1', 'h2'].map((name) => ({ name, containers: containers.filter(({ host }) => host === name) }));
}

export function task({ service, slot, host, task: id }: Place, over: Partial<Task> = {}): Task {
  return Task.fromPartial({
    id,
    stack: 'shop',
    service,
    slot,
    nodeId: `node-${host}`,
    desired: DesiredState.DESIRED_STATE_RUNNING,
    ...over,
  });
}

export function spec(over: Partial<StackSpec> = {}): StackSpec {
  const web = serviceFields.web;
  return {
    namespace: 'default',
    name: 'shop',
    services: [
      ServiceSpec.fromPartial({
        name: 'web',
        mode: { $case: 'replicated', value: { replicas: 2 } },
        container: { image: 'busybox:latest', command: { values: web.command }, environment: web.environment },
      }),
      ServiceSpec.fromPartial({
        name: 'probe',
        mode: { $case: 'global', value: {} },
        container: { image: 'busybox:latest' },
      }),
    ],
    networks: [],
    volumes: [],
    ...over,
  };
}

export function store(over: Partial<StoreView> = {}): StoreView {
  return {
    keys: [],
    stacks: [Stack.fromPartial({ id: 's1', name: 'shop' }), Stack.fromPartial({ name: 'berth', static: true })],
    specs: new Map([['s1', spec()]]),
    tasks: places.map((place) => task(place)),
    ...over,
  };
}
