import type { ServiceRecord, ServiceVersion, StackRecord } from '@berth/contracts/scheduler';
import { UpdateState } from '@berth/contracts/scheduler';
import type { ServiceSpec, StackSpec } from '@berth/contracts/workload';
import { DesiredState, NetworkMode } from '@berth/contracts/workload';
import type { Records } from '../state/records.ts';
import { isPinned, relativeBinds } from './binds.ts';
import { same } from './canonical.ts';
import type { VersionContent } from './derive.ts';
import { modeOf, replicasOf, sameVersion, versionContent } from './derive.ts';
import type { EligibleNodes } from './diff.ts';

/** What is to be done about a stack's own records. */
export type StackAction =
  | {
      readonly kind: 'create-service';
      readonly stackId: string;
      readonly fields: ServiceFields;
      readonly content: NewVersion;
    }
  | {
      readonly kind: 'change-service';
      readonly serviceId: string;
      readonly fields: ServiceFields;
      /** Content of the next spec version; absent when its tasks stay as they are. */
      readonly content?: NewVersion;
    }
  | { readonly kind: 'retire-service'; readonly serviceId: string }
  | { readonly kind: 'observe-stack'; readonly stackId: string; readonly version: number }
  | { readonly kind: 'show-stack'; readonly stackId: string; readonly waitingForNodes: readonly string[] }
  | { readonly kind: 'delete-stack'; readonly stackId: string };

/** What a service's record takes from the spec. */
export interface ServiceFields {
  readonly service: Pick<
    NonNullable<ServiceRecord['service']>,
    'name' | 'image' | 'mode' | 'wanted' | 'labels' | 'update' | 'ports'
  >;
  readonly replicas: number;
  readonly dependsOn: ServiceRecord['dependsOn'];
}

/** What the next spec version says. */
export type NewVersion = VersionContent & Pick<ServiceVersion, 'bindNodeId'>;

export interface StackScene {
  readonly record: StackRecord;
  readonly records: Records;
  /** How many nodes a global service covers. */
  readonly eligible: EligibleNodes;
  /** Has the network-manager still networks of this stack? Undefined while that is not known. */
  readonly networksLeft: boolean | undefined;
  /** Name of a node as people know it. */
  readonly hostnameOf: (nodeId: string) => string;
}

/** Makes a stack's services what its spec says; takes a stack on its way out away with the last of what it had. */
export function reconcileStack(scene: StackScene): StackAction[] {
  const stack = scene.record.stack;
  if (!stack || stack.static) return [];
  return stack.removing ? removal(scene, stack.id) : derivation(scene, stack.id);
}

function derivation({ record, records, eligible }: StackScene, stackId: string): StackAction[] {
  const { bindNodeId = '', spec } = records.specs.get(stackId)?.value ?? {};
  const version = record.stack?.version ?? 0;
  if (!spec || record.stack?.observedVersion === version) return [];
  const actions: StackAction[] = [];
  const declared = new Set(spec.services.map(({ name }) => name));
  for (const { value } of records.servicesOf(stackId)) {
    if (value.service && !value.removing && !declared.has(value.service.name)) {
      actions.push({ kind: 'retire-service', serviceId: value.service.id });
    }
  }
  for (const service of awaitedFirst(spec.services)) {
    const action = serviceAction(records, stackId, { spec, bindNodeId }, service, eligible);
    if (action) actions.push(action);
  }
  return [...actions, { kind: 'observe-stack', stackId, version }];
}

/** A service after those it awaits: should the leader die half way, none is at a new version whose gate looks at an old one. */
function awaitedFirst(services: readonly ServiceSpec[]): ServiceSpec[] {
  const byName = new Map(services.map((service) => [service.name, service]));
  const ordered = new Set<ServiceSpec>();
  const visit = (service: ServiceSpec | undefined): void => {
    if (!service || ordered.has(service)) return;
    for (const { service: name } of service.dependsOn) visit(byName.get(name));
    ordered.add(service);
  };
  for (const service of services) visit(service);
  return [...ordered];
}

function serviceAction(
  records: Records,
  stackId: string,
  stack: { readonly spec: StackSpec; readonly bindNodeId: string },
  spec: ServiceSpec,
  eligible: EligibleNodes,
): StackAction | undefined {
  const isBound = relativeBinds(spec).length > 0 && !isPinned(spec);
  const content = { ...versionContent(stack.spec, spec), bindNodeId: isBound ? stack.bindNodeId : '' };
  const known = records.serviceNamed(stackId, spec.name)?.value;
  const fields = fieldsOf(spec, eligible);
  if (!known?.service) return { kind: 'create-service', stackId, fields, content };
  const serviceId = known.service.id;
  const current = records.currentVersion(known);
  if (!current || !sameVersion(current, content)) {
    const running = records
      .tasksOf(serviceId)
      .some(({ value }) => value.desired === DesiredState.DESIRED_STATE_RUNNING);
    const update = running ? UpdateState.UPDATE_STATE_UPDATING : UpdateState.UPDATE_STATE_UNSPECIFIED;
    return {
      kind: 'change-service',
      serviceId,
      fields: { ...fields, service: { ...fields.service, update } },
      content,
    };
  }
  const { update } = known.service;
  const unchanged = { ...fields, service: { ...fields.service, update } };
  if (same(unchanged, fieldsNow(known))) return undefined;
  return { kind: 'change-service', serviceId, fields: unchanged };
}

function fieldsOf(spec: ServiceSpec, eligible: EligibleNodes): ServiceFields {
  const mode = modeOf(spec);
  return {
    service: {
      name: spec.name,
      image: spec.container?.image ?? '',
      mode,
      wanted: mode === 'global' ? eligible(spec) : replicasOf(spec),
      labels: spec.labels,
      update: UpdateState.UPDATE_STATE_UNSPECIFIED,
      ports: spec.container?.networkMode === NetworkMode.NETWORK_MODE_HOST ? [] : spec.ports,
    },
    replicas: replicasOf(spec),
    dependsOn: spec.dependsOn,
  };
}

function fieldsNow({ service, replicas, dependsOn }: ServiceRecord): ServiceFields | undefined {
  if (!service) return undefined;
  const { name, image, mode, wanted, labels, update, ports } = service;
  return { service: { name, image, mode, wanted, labels, update, ports }, replicas, dependsOn };
}

function removal({ record, records, networksLeft, hostnameOf }: StackScene, stackId: string): StackAction[] {
  const services = records.servicesOf(stackId);
  const nodes = new Set<string>();
  for (const { value } of services) {
    for (const task of records.tasksOf(value.service?.id ?? '')) {
      if (task.value.nodeId !== '') nodes.add(hostnameOf(task.value.nodeId));
    }
  }
  const waitingForNodes = [...nodes].sort();
  if (!same(waitingForNodes, record.stack?.waitingForNodes ?? [])) {
    return [{ kind: 'show-stack', stackId, waitingForNodes }];
  }
  if (services.length > 0 || networksLeft !== false) return [];
  return [{ kind: 'delete-stack', stackId }];
}
