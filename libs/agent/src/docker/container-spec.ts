import type { Healthcheck, Mount, PortSpec } from '@berth/contracts/workload';
import { MountType, NetworkMode } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import { protocolName } from '@berth/workload';
import type { ContainerCreateOptions, HealthConfig, MountSettings } from 'dockerode';
import type { RunPlan } from '../domain/run-plan.ts';
import type { NetworkJoin } from '../domain/task-network.ts';

const nanosPerMilli = 1_000_000;
/** Docker's default of ten seconds, in our unit. */
const defaultGraceMs = 10_000;

export type CreateOptions = ContainerCreateOptions & { readonly name: string };

/** What the engine (API 1.41 and later) is asked to create. The first network is part of it; `laterJoins` are connected
 *  afterwards, before the start. */
export function createOptions(plan: RunPlan): CreateOptions {
  const { container } = plan;
  const first = plan.networks?.joins[0];
  return {
    name: plan.name,
    Image: container.image,
    Hostname: plan.hostname === '' ? undefined : plan.hostname,
    Entrypoint: container.entrypoint?.values,
    Cmd: container.command?.values,
    Env: Object.entries(container.environment).map(([key, value]) => `${key}=${value}`),
    User: orAbsent(container.user),
    WorkingDir: orAbsent(container.workingDir),
    Labels: { ...plan.labels },
    StopSignal: orAbsent(container.stopSignal),
    StopTimeout: Math.ceil(graceMs(container.stopGracePeriodMs) / 1000),
    Healthcheck: container.healthcheck && healthConfig(container.healthcheck),
    ExposedPorts: exposedPorts(plan),
    HostConfig: {
      NetworkMode: networkMode(plan, first),
      PortBindings: portBindings(plan.ports),
      CapAdd: listOrAbsent(container.capAdd),
      CapDrop: listOrAbsent(container.capDrop),
      ReadonlyRootfs: container.readOnly,
      Init: container.init ? true : undefined,
      Sysctls: Object.keys(container.sysctls).length === 0 ? undefined : { ...container.sysctls },
      Ulimits: listOrAbsent(container.ulimits.map((u) => ({ Name: u.name, Soft: u.soft, Hard: u.hard }))),
      ExtraHosts: listOrAbsent(container.extraHosts),
      Mounts: listOrAbsent(container.mounts.filter((m) => !isPlainBind(m)).map((m) => mountSettings(m, plan))),
      Binds: listOrAbsent(container.mounts.filter(isPlainBind).map(bindText)),
      NanoCpus: amount((plan.limits?.cpuMillis ?? 0) * nanosPerMilli),
      Memory: amount(plan.limits?.memoryBytes ?? 0),
      MemoryReservation: amount(plan.reservations?.memoryBytes ?? 0),
      // Only Berth restarts: it counts runs and keeps to the service's policy.
      RestartPolicy: { Name: 'no' },
      ...dns(plan),
    },
    NetworkingConfig: first && { EndpointsConfig: { [first.dockerNetwork]: endpointSettings(first) } },
  };
}

/** Networks to connect after the creation: API 1.41 takes one with it. */
export function laterJoins(plan: RunPlan): readonly NetworkJoin[] {
  return plan.networks?.joins.slice(1) ?? [];
}

/** A fixed address and no aliases: Docker would answer those itself, past any health check. */
export function endpointSettings(join: NetworkJoin): { IPAMConfig: { IPv4Address: string } } {
  return { IPAMConfig: { IPv4Address: join.ip } };
}

/** 0 on the wire means the default. */
export function graceMs(stopGracePeriodMs: number): number {
  return stopGracePeriodMs === 0 ? defaultGraceMs : stopGracePeriodMs;
}

function networkMode(plan: RunPlan, first: NetworkJoin | undefined): string {
  if (plan.container.networkMode === NetworkMode.NETWORK_MODE_HOST) return 'host';
  return first?.dockerNetwork ?? 'none';
}

/** No search domain and no `ndots`: only then does Docker's resolver forward a bare name to ours. "." means none. */
function dns(plan: RunPlan): { Dns?: string[]; DnsOptions?: string[]; DnsSearch?: string[] } {
  if (plan.networks === undefined) return {};
  return { Dns: [...plan.networks.dnsServers], DnsOptions: [...plan.networks.dnsOptions], DnsSearch: ['.'] };
}

function healthConfig(check: Healthcheck): HealthConfig {
  if (check.disable) return { Test: ['NONE'] };
  return {
    Test: listOrAbsent(check.test),
    Interval: amount(check.intervalMs * nanosPerMilli),
    Timeout: amount(check.timeoutMs * nanosPerMilli),
    Retries: amount(check.retries),
    StartPeriod: amount(check.startPeriodMs * nanosPerMilli),
  };
}

function exposedPorts(plan: RunPlan): Record<string, Record<string, never>> | undefined {
  const keys = [
    ...plan.expose.map((p) => `${p.port}/${protocolName(p.protocol)}`),
    ...plan.ports.map((p) => `${p.target}/${protocolName(p.protocol)}`),
  ];
  return keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, {}]));
}

function portBindings(ports: readonly PortSpec[]) {
  if (ports.length === 0) return undefined;
  const bindings: Record<string, { HostIp?: string; HostPort: string }[]> = {};
  for (const port of ports) {
    const key = `${port.target}/${protocolName(port.protocol)}`;
    bindings[key] ??= [];
    bindings[key].push({ HostIp: orAbsent(port.hostIp), HostPort: port.published === 0 ? '' : String(port.published) });
  }
  return bindings;
}

/** Only the engine's older form of a bind creates a missing path on the host. */
function isPlainBind(mount: Mount): boolean {
  return mount.type === MountType.MOUNT_TYPE_BIND && mount.createHostPath;
}

function bindText(mount: Mount): string {
  const options = [mount.readOnly ? 'ro' : 'rw', ...(mount.propagation === '' ? [] : [mount.propagation])];
  return `${mount.source}:${mount.target}:${options.join(',')}`;
}

function mountSettings(mount: Mount, plan: RunPlan): MountSettings {
  const common = { Target: mount.target, ReadOnly: mount.readOnly };
  switch (mount.type) {
    case MountType.MOUNT_TYPE_BIND: {
      const Propagation = mount.propagation as NonNullable<MountSettings['BindOptions']>['Propagation'] | '';
      return {
        ...common,
        Type: 'bind',
        Source: mount.source,
        BindOptions: Propagation === '' ? undefined : { Propagation },
      };
    }
    case MountType.MOUNT_TYPE_TMPFS:
      return {
        ...common,
        Type: 'tmpfs',
        Source: '',
        TmpfsOptions: { SizeBytes: mount.tmpfsSizeBytes, Mode: mount.tmpfsMode },
      };
    case MountType.MOUNT_TYPE_VOLUME: {
      const volume = plan.volumes.get(mount.source);
      if (mount.source !== '' && volume === undefined) {
        throw new BerthError('FailedPrecondition', `volume ${mount.source} is not declared by the stack`, {
          reason: 'VOLUME_NOT_DECLARED',
        });
      }
      // NoCopy stands alone here: driver and labels are set when the volume is made, before the container.
      return {
        ...common,
        Type: 'volume',
        Source: volume?.name ?? '',
        VolumeOptions: { NoCopy: mount.volumeNocopy } as MountSettings['VolumeOptions'],
      };
    }
    default:
      throw new BerthError('FailedPrecondition', `mount at ${mount.target} has no known type: upgrade this agent`, {
        reason: 'UNKNOWN_MOUNT_TYPE',
      });
  }
}

function orAbsent(text: string): string | undefined {
  return text === '' ? undefined : text;
}

function listOrAbsent<T>(list: readonly T[]): T[] | undefined {
  return list.length === 0 ? undefined : [...list];
}

function amount(value: number): number | undefined {
  return value === 0 ? undefined : value;
}
