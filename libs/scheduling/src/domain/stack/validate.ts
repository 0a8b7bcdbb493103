import type { ServiceSpec, StackSpec } from '@berth/contracts/workload';
import { MountType, NetworkMode } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import { defaultNamespace, staticStackId } from '@berth/workload';
import { parseConstraint } from '../placement/constraints.ts';
import { portsConflict } from '../placement/ports.ts';
import { hostPortsOf } from './derive.ts';

/** Names of namespaces and stacks: they become part of Docker's names. */
const stackName = /^[a-z0-9][a-z0-9_-]{0,62}$/u;
/** Names of services, networks and volumes, as in Compose. */
const partName = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/u;
/** Largest number of tasks that one service may ask for. */
export const replicasMax = 10_000;
/** Largest encoded spec in bytes: what one key of the store may hold. */
export const specBytesMax = 1024 * 1024;

/** Refuses a spec that can't stand, whatever the cluster has: InvalidArgument with reason BAD_SPEC, all problems in one. */
export function validateStack(spec: StackSpec): void {
  const problems = [...stackProblems(spec), ...spec.services.flatMap((service) => serviceProblems(spec, service))];
  const cycle = dependencyCycle(spec);
  if (cycle) problems.push(`depends_on goes in a circle: ${cycle.join(' -> ')}`);
  if (problems.length === 0) return;
  throw new BerthError('InvalidArgument', problems.join('; '), { reason: 'BAD_SPEC' });
}

function stackProblems(spec: StackSpec): string[] {
  const problems: string[] = [];
  if (!stackName.test(spec.namespace)) problems.push(`namespace ${quote(spec.namespace)} is no name ([a-z0-9_-])`);
  if (!stackName.test(spec.name)) problems.push(`stack ${quote(spec.name)} is no name ([a-z0-9_-])`);
  if (spec.namespace === defaultNamespace && spec.name === staticStackId) {
    problems.push(`stack name ${quote(staticStackId)} stands for the control plane itself; choose another`);
  }
  for (const [kind, parts] of [
    ['service', spec.services],
    ['network', spec.networks],
    ['volume', spec.volumes],
  ] as const) {
    const seen = new Set<string>();
    for (const { name } of parts) {
      if (!partName.test(name)) problems.push(`${kind} ${quote(name)} is no name ([A-Za-z0-9._-])`);
      if (seen.has(name)) problems.push(`${kind} ${quote(name)} is declared twice`);
      seen.add(name);
    }
  }
  return problems;
}

function serviceProblems(stack: StackSpec, service: ServiceSpec): string[] {
  const at = `service ${quote(service.name)}`;
  const problems: string[] = [];
  if (!service.container?.image) problems.push(`${at} has no image`);
  if (service.mode === undefined) problems.push(`${at} has no mode`);
  if (service.mode?.$case === 'replicated' && service.mode.value.replicas > replicasMax) {
    problems.push(`${at} asks for ${service.mode.value.replicas} replicas; at most ${replicasMax}`);
  }
  for (const text of service.constraints) {
    const parsed = parseConstraint(text);
    if (parsed.kind === 'invalid') problems.push(`${at}: ${parsed.problem}`);
  }
  for (const [what, amount] of amounts(service)) if (amount < 0) problems.push(`${at}: ${what} is negative`);
  return [...problems, ...referenceProblems(stack, service, at), ...portProblems(service, at)];
}

function amounts({ reservations, limits }: ServiceSpec): [string, number][] {
  return [
    ['reserved cpu', reservations?.cpuMillis ?? 0],
    ['reserved memory', reservations?.memoryBytes ?? 0],
    ['cpu limit', limits?.cpuMillis ?? 0],
    ['memory limit', limits?.memoryBytes ?? 0],
  ];
}

function referenceProblems(stack: StackSpec, service: ServiceSpec, at: string): string[] {
  const problems: string[] = [];
  const networks = new Set(stack.networks.map(({ name }) => name));
  const volumes = new Set(stack.volumes.map(({ name }) => name));
  const services = new Set(stack.services.map(({ name }) => name));
  for (const { network } of service.networks) {
    if (!networks.has(network)) problems.push(`${at} names network ${quote(network)}, which is not declared`);
  }
  if (service.networks.length > 0 && service.container?.networkMode !== NetworkMode.NETWORK_MODE_UNSPECIFIED) {
    problems.push(`${at} has network_mode and networks; it can have one of them`);
  }
  for (const { type, source } of service.container?.mounts ?? []) {
    if (type === MountType.MOUNT_TYPE_VOLUME && source !== '' && !volumes.has(source)) {
      problems.push(`${at} mounts volume ${quote(source)}, which is not declared`);
    }
  }
  for (const dependency of service.dependsOn) {
    if (!services.has(dependency.service)) {
      problems.push(`${at} depends on ${quote(dependency.service)}, which is not declared`);
    }
  }
  return problems;
}

function portProblems(service: ServiceSpec, at: string): string[] {
  const problems: string[] = [];
  const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;
  for (const { target, published } of service.ports) {
    if (!isPort(target)) problems.push(`${at}: ${target} is no port`);
    if (published !== 0 && !isPort(published)) problems.push(`${at}: ${published} is no port`);
  }
  for (const { port } of service.expose) if (!isPort(port)) problems.push(`${at}: ${port} is no port`);
  const held = hostPortsOf(service);
  held.forEach((port, index) => {
    const other = held.slice(0, index).find((earlier) => portsConflict(earlier, port));
    if (other) problems.push(`${at} publishes host port ${port.published} twice`);
  });
  return problems;
}

function dependencyCycle(spec: StackSpec): string[] | undefined {
  const next = new Map(spec.services.map(({ name, dependsOn }) => [name, dependsOn.map(({ service }) => service)]));
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): string[] | undefined => {
    const start = path.indexOf(name);
    if (start >= 0) return [...path.slice(start), name];
    if (done.has(name)) return undefined;
    for (const other of next.get(name) ?? []) {
      const cycle = visit(other, [...path, name]);
      if (cycle) return cycle;
    }
    done.add(name);
    return undefined;
  };
  for (const name of next.keys()) {
    const cycle = visit(name, []);
    if (cycle) return cycle;
  }
  return undefined;
}

function quote(text: string): string {
  return JSON.stringify(text);
}
