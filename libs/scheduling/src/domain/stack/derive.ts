import type { ServiceVersion } from '@berth/contracts/scheduler';
import type { NetworkSpec, PortSpec, ServiceSpec, StackSpec, VolumeSpec } from '@berth/contracts/workload';
import { MountType, NetworkMode, Protocol } from '@berth/contracts/workload';
import { volumeName } from '@berth/workload';
import { same } from './canonical.ts';

/** What a spec version is made of: everything whose change means that tasks are replaced. */
export type VersionContent = Pick<ServiceVersion, 'spec' | 'networks' | 'volumes'>;

/**
 * The part of a stack's spec that one service's tasks run. Number of replicas, labels of the service and dependencies are
 * left out: they may change without any task being replaced.
 */
export function versionContent(stack: StackSpec, spec: ServiceSpec): VersionContent {
  return {
    spec: {
      ...spec,
      mode:
        spec.mode?.$case === 'global'
          ? { $case: 'global', value: {} }
          : { $case: 'replicated', value: { replicas: 0 } },
      labels: {},
      dependsOn: [],
    },
    networks: networksOf(stack, spec),
    volumes: volumesOf(stack, spec),
  };
}

/** Would tasks of these two run the same? */
export function sameVersion(a: VersionContent, b: VersionContent): boolean {
  return (
    same(a.spec, b.spec) && same(byName(a.networks), byName(b.networks)) && same(byName(a.volumes), byName(b.volumes))
  );
}

/** Wanted tasks of a replicated service; 0 for a global one. */
export function replicasOf(spec: ServiceSpec): number {
  return spec.mode?.$case === 'global' ? 0 : (spec.mode?.value.replicas ?? 1);
}

export function modeOf(spec: ServiceSpec): 'replicated' | 'global' {
  return spec.mode?.$case === 'global' ? 'global' : 'replicated';
}

/** Host ports that a task holds: fixed published ones, and with the host's network what it exposes. */
export function hostPortsOf(spec: ServiceSpec): PortSpec[] {
  if (spec.container?.networkMode === NetworkMode.NETWORK_MODE_HOST) {
    return spec.expose.map(({ port, protocol }) => ({
      target: port,
      published: port,
      protocol: protocol || Protocol.PROTOCOL_TCP,
      hostIp: '',
    }));
  }
  return spec.ports
    .filter(({ published }) => published > 0)
    .map((port) => ({ ...port, protocol: port.protocol || Protocol.PROTOCOL_TCP }));
}

/** Docker's names of the named volumes that a version's tasks mount. */
export function volumeNamesOf(
  owner: { readonly namespace: string; readonly stack: string },
  volumes: readonly VolumeSpec[],
): string[] {
  return volumes.map((volume) => volumeName(owner, volume));
}

/** Has a task of this spec an endpoint that callers must be given time to leave? */
export function hasEndpoint(spec: ServiceSpec): boolean {
  return spec.networks.length > 0 || spec.ports.length > 0;
}

function networksOf(stack: StackSpec, spec: ServiceSpec): NetworkSpec[] {
  const used = new Set(spec.networks.map(({ network }) => network));
  return stack.networks.filter(({ name }) => used.has(name));
}

function volumesOf(stack: StackSpec, spec: ServiceSpec): VolumeSpec[] {
  const used = new Set(
    (spec.container?.mounts ?? [])
      .filter(({ type, source }) => type === MountType.MOUNT_TYPE_VOLUME && source !== '')
      .map(({ source }) => source),
  );
  return stack.volumes.filter(({ name }) => used.has(name));
}

function byName<T extends { readonly name: string }>(list: readonly T[]): T[] {
  return [...list].sort((a, b) => (a.name < b.name ? -1 : 1));
}
