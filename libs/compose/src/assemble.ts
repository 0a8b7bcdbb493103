import type {
  Dependency,
  ExposedPort,
  NetworkAttachment,
  NetworkSpec,
  ServiceSpec,
  StackSpec,
  VolumeSpec,
} from '@berth/contracts/workload';
import { DependencyCondition } from '@berth/contracts/workload';
import { defaultRestart } from './services/deploy.ts';
import { compareText } from './services/pairs.ts';
import type { ServiceDraft } from './services/service.ts';
import type { StackDraft } from './validate.ts';

/** Puts the stack spec together: sorted, and with only the networks and volumes that some service uses. */
export function assemble(namespace: string, name: string, stack: StackDraft): StackSpec {
  const awaited = awaitedToComplete(stack);
  const services = [...stack.services.values()]
    .map((service) => assembleService(service, stack, awaited.has(service.name)))
    .sort(byName);
  return { namespace, name, services, networks: usedNetworks(stack), volumes: usedVolumes(stack) };
}

function assembleService(draft: ServiceDraft, stack: StackDraft, awaited: boolean): ServiceSpec {
  const { mode, reservations, limits, constraints, labels, restart } = draft.deployment;
  return {
    name: draft.name,
    mode,
    container: draft.container,
    reservations,
    limits,
    constraints,
    restart: restart ?? defaultRestart(awaited),
    dependsOn: draft.dependsOn
      .filter(({ service }) => stack.services.has(service))
      .map(({ service, condition }): Dependency => ({ service, condition }))
      .sort((a, b) => compareText(a.service, b.service)),
    labels,
    networks: draft.attachments.map(({ network, aliases }): NetworkAttachment => ({ network, aliases: [...aliases] })),
    ports: draft.ports.map(({ spec }) => spec),
    expose: served(draft),
  };
}

/** Ports that the service serves: those of `expose` and the targets of `ports`, each once, in order. */
function served(draft: ServiceDraft): ExposedPort[] {
  const all = new Map<string, ExposedPort>();
  const add = (port: number, protocol: ExposedPort['protocol']) => all.set(`${port}/${protocol}`, { port, protocol });
  for (const { spec } of draft.expose) add(spec.port, spec.protocol);
  for (const { spec } of draft.ports) add(spec.target, spec.protocol);
  return [...all.values()].sort((a, b) => a.port - b.port || a.protocol - b.protocol);
}

function awaitedToComplete(stack: StackDraft): Set<string> {
  const { DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY: completed } = DependencyCondition;
  const names = [...stack.services.values()].flatMap(({ dependsOn }) =>
    dependsOn.filter(({ condition }) => condition === completed).map(({ service }) => service),
  );
  return new Set(names);
}

function usedNetworks(stack: StackDraft): NetworkSpec[] {
  const used = new Set([...stack.services.values()].flatMap(({ attachments }) => attachments.map((a) => a.network)));
  const implicit: NetworkSpec = { name: 'default', driverOpts: {}, internal: false, externalName: '' };
  return [...used]
    .flatMap((name) => stack.networks.get(name)?.spec ?? (name === 'default' ? implicit : []))
    .sort(byName);
}

function usedVolumes(stack: StackDraft): VolumeSpec[] {
  const used = new Set([...stack.services.values()].flatMap(({ mounts }) => mounts.map(({ spec }) => spec.source)));
  return [...stack.volumes.values()]
    .map(({ spec }) => spec)
    .filter(({ name }) => used.has(name))
    .sort(byName);
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return compareText(a.name, b.name);
}
