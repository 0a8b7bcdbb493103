import type { ExposedPort, NetworkSpec, Protocol, VolumeSpec } from '@berth/contracts/workload';
import { DependencyCondition, MountType, NetworkMode, RestartCondition } from '@berth/contracts/workload';
import type { Field } from './field.ts';
import type { Declared } from './resources.ts';
import type { PlacedDependency } from './services/depends-on.ts';
import { conditionName } from './services/depends-on.ts';
import { protocolName } from './services/ports.ts';
import type { ServiceDraft } from './services/service.ts';
import { isIpv4 } from './text/addresses.ts';
import { nearest } from './text/nearest.ts';

/** What services are held against. */
export interface StackDraft {
  /** Services of the active profiles, by name. */
  readonly services: ReadonlyMap<string, ServiceDraft>;
  /** Services that the file declares but whose profiles are not active. */
  readonly inactive: ReadonlySet<string>;
  readonly networks: ReadonlyMap<string, Declared<NetworkSpec>>;
  readonly volumes: ReadonlyMap<string, Declared<VolumeSpec>>;
}

/** Reports what is wrong between the parts of a stack. */
export function validate(stack: StackDraft): void {
  checkNames(stack);
  checkReferences(stack);
  checkDependencies(stack);
  checkCycles(stack);
  checkHostPorts(stack);
  checkRealNames('network', stack.networks);
  checkRealNames('volume', stack.volumes);
}

/** DNS does not tell capitals from small letters. */
function checkNames({ services }: StackDraft): void {
  const seen = new Map<string, ServiceDraft>();
  for (const service of services.values()) {
    const { name, field } = service;
    const earlier = seen.get(name.toLowerCase());
    if (earlier !== undefined) {
      field.report.fail(
        field.keyAt,
        field.path,
        `"${name}" and "${earlier.name}" (line ${earlier.field.keyAt.line}) are one name in DNS`,
        'rename one of the two services',
      );
    }
    seen.set(name.toLowerCase(), service);
  }
}

function checkReferences({ services, networks, volumes }: StackDraft): void {
  for (const { attachments, mounts } of services.values()) {
    for (const { network, field } of attachments) {
      if (network !== 'default' && !networks.has(network)) undeclared(field, 'network', network, networks.keys());
    }
    for (const { spec, field } of mounts) {
      const named = spec.type === MountType.MOUNT_TYPE_VOLUME && spec.source !== '';
      if (named && !volumes.has(spec.source)) undeclared(field, 'volume', spec.source, volumes.keys());
    }
  }
}

function undeclared(field: Field | undefined, what: string, name: string, known: Iterable<string>): void {
  const similar = nearest(name, known);
  const hint = similar === undefined ? '' : `; did you mean "${similar}"?`;
  const orPath = what === 'volume' ? '; a host path starts with ./ or /' : '';
  field?.fail(`the ${what} "${name}" is not declared`, `declare it under the top-level \`${what}s:\`${orPath}${hint}`);
}

function checkDependencies({ services, inactive }: StackDraft): void {
  for (const [name, { dependsOn }] of services) {
    for (const { service, condition, required, field } of dependsOn) {
      const awaited = services.get(service);
      if (service === name) continue; // reported as a cycle
      if (awaited !== undefined) {
        checkReachable(awaited, condition, field);
        if (!required) field.warn(`required: false: "${service}" is in the stack, so it is waited for as if required`);
      } else if (required) {
        reportMissing(service, field, inactive, services);
      }
    }
  }
}

function reportMissing(
  service: string,
  field: Field,
  inactive: ReadonlySet<string>,
  services: ReadonlyMap<string, ServiceDraft>,
): void {
  if (inactive.has(service)) {
    field.fail(
      `depends on "${service}", whose profiles are not active`,
      `activate one of its profiles, or write \`required: false\` for this dependency`,
    );
    return;
  }
  const similar = nearest(service, services.keys());
  field.fail(
    `depends on "${service}", which is not declared`,
    similar === undefined ? 'declare the service or remove the dependency' : `did you mean "${similar}"?`,
  );
}

/** A condition that can never come true would hold the service back for ever. */
function checkReachable(awaited: ServiceDraft, condition: DependencyCondition, field: Field): void {
  const { deployment, container, name } = awaited;
  const written = conditionName(condition);
  if (
    condition === DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY &&
    deployment.restart?.condition === RestartCondition.RESTART_CONDITION_ANY
  ) {
    const line = deployment.restartField?.node.at.line;
    field.fail(
      `${written}: "${name}" is restarted after every end (line ${line}), so it never completes`,
      `set \`restart: "no"\` or on-failure for "${name}"`,
    );
  }
  if (condition === DependencyCondition.DEPENDENCY_CONDITION_HEALTHY && container.healthcheck?.disable === true) {
    field.fail(
      `${written}: the health check of "${name}" is disabled`,
      `give "${name}" a health check, or wait for service_started`,
    );
  }
}

function checkCycles({ services }: StackDraft): void {
  // Without recursion: a chain may be longer than the stack is deep.
  const done = new Set<string>();
  for (const start of services.keys()) {
    const path = new Map<string, Iterator<PlacedDependency>>();
    const enter = (name: string) => path.set(name, (services.get(name)?.dependsOn ?? []).values());
    const trail = done.has(start) ? [] : [start];
    if (trail.length > 0) enter(start);
    for (let name = trail.at(-1); name !== undefined; name = trail.at(-1)) {
      const dependency = path.get(name)?.next().value;
      if (dependency === undefined) {
        trail.pop();
        path.delete(name);
        done.add(name);
      } else if (path.has(dependency.service)) {
        const cycle = [...trail.slice(trail.indexOf(dependency.service)), dependency.service].join(' -> ');
        dependency.field.fail(`services wait for each other: ${cycle}`, 'remove one of these dependencies');
      } else if (services.has(dependency.service) && !done.has(dependency.service)) {
        trail.push(dependency.service);
        enter(dependency.service);
      }
    }
  }
}

interface HostPort {
  readonly hostIp: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly service: string;
  readonly field: Field;
}

/** Two tasks cannot listen at the same port of a host; with network_mode host, exposed ports are host ports too. */
function checkHostPorts({ services }: StackDraft): void {
  const taken = new Map<string, HostPort[]>();
  for (const { name, ports, expose, container, deployment } of services.values()) {
    const published = ports
      .filter(({ spec }) => spec.published !== 0)
      .map(({ spec, field }) => ({ ...spec, port: spec.published, service: name, field }));
    const direct =
      container.networkMode === NetworkMode.NETWORK_MODE_HOST
        ? expose
            .filter(({ spec }, index) => expose.findIndex((other) => samePort(other.spec, spec)) === index)
            .map(({ spec, field }) => ({ ...spec, hostIp: '', service: name, field }))
        : [];
    warnOfReplicas(deployment, [...published, ...direct]);
    for (const port of [...published, ...direct]) {
      const key = `${port.port}/${protocolName(port.protocol)}`;
      const others = taken.get(key) ?? [];
      const other = others.find((candidate) => addressesMeet(candidate.hostIp, port.hostIp));
      if (other !== undefined) reportTaken(key, port, other);
      taken.set(key, [...others, port]);
    }
  }
}

function samePort(a: ExposedPort, b: ExposedPort): boolean {
  return a.port === b.port && a.protocol === b.protocol;
}

/** Tasks of one service cannot share a host port either, but they may be on several nodes. */
function warnOfReplicas({ mode }: ServiceDraft['deployment'], ports: readonly HostPort[]): void {
  const replicas = mode?.$case === 'replicated' ? mode.value.replicas : 1;
  const [port] = ports;
  if (replicas < 2 || port === undefined) return;
  port.field.warn(`each of the ${replicas} tasks takes host port ${port.port}, so each needs a node of its own`);
}

function reportTaken(key: string, port: HostPort, other: HostPort): void {
  const { file, line } = other.field.node.at;
  const where = file === port.field.node.at.file ? `line ${line}` : `${file}:${line}`;
  const who = other.service === port.service ? 'this service' : `"${other.service}"`;
  port.field.fail(
    `host port ${key} is already published by ${who} on ${where}`,
    'publish another port of the host, or leave the published port out to get a free one',
  );
}

/** An unset address is every address of the host; 0.0.0.0 is every IPv4 address, :: every IPv6 address. */
function addressesMeet(a: string, b: string): boolean {
  if (a === '' || b === '' || a === b) return true;
  if (isIpv4(a) !== isIpv4(b)) return false;
  const any = isIpv4(a) ? '0.0.0.0' : '::';
  return a === any || b === any;
}

/** `name:` gives a resource its real name, which two cannot share. */
function checkRealNames(
  what: string,
  declared: ReadonlyMap<string, Declared<{ readonly name: string; readonly externalName: string }>>,
): void {
  const taken = new Map<string, Field>();
  for (const { spec, field } of declared.values()) {
    if (spec.externalName === '' || field === undefined) continue;
    const name = field.get('name') ?? field;
    const earlier = taken.get(spec.externalName);
    if (earlier !== undefined) {
      name.fail(
        `the ${what} name "${spec.externalName}" is already used on line ${earlier.node.at.line}`,
        `give each ${what} a name of its own`,
      );
    }
    taken.set(spec.externalName, name);
  }
}
