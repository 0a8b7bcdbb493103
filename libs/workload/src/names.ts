import type { NetworkSpec, PortSpec, Task, VolumeSpec } from '@berth/contracts/workload';
import { Protocol } from '@berth/contracts/workload';

/** Namespace of a stack that names none. */
export const defaultNamespace = 'default';

/** A task's name, resolvable on its networks: `<service>.<slot>`; of a global service `<service>.<host name of its node>`. */
export function taskName(task: Pick<Task, 'service' | 'slot'>, nodeHostname: string): string {
  return task.slot > 0 ? `${task.service}.${task.slot}` : `${task.service}.${nodeHostname}`;
}

/** Name of the container of one run of a task. */
export function containerName(taskId: string, run: number): string {
  return `berth-${taskId}-${run}`;
}

/**
 * Docker's name of a named volume: the file's `name:`, else `<stack>_<name>`; in a namespace other than the default
 * `<namespace>.<stack>_<name>` (no stack has a dot in its name).
 */
export function volumeName(
  { namespace, stack }: Pick<Task, 'namespace' | 'stack'>,
  volume: Pick<VolumeSpec, 'name' | 'externalName'>,
): string {
  if (volume.externalName) return volume.externalName;
  return `${namespace === defaultNamespace ? '' : `${namespace}.`}${stack}_${volume.name}`;
}

/** A network's full name for show: the file's `name:`, else `<stack>_<name>`. */
export function networkName(stack: string, network: Pick<NetworkSpec, 'name' | 'externalName'>): string {
  return network.externalName || `${stack}_${network.name}`;
}

/** "tcp", "udp" or "sctp". */
export function protocolName(protocol: Protocol): string {
  switch (protocol) {
    case Protocol.PROTOCOL_UDP:
      return 'udp';
    case Protocol.PROTOCOL_SCTP:
      return 'sctp';
    default:
      return 'tcp';
  }
}

/** A published port as people write it: "127.0.0.1:8080->80/tcp"; "*->80/tcp" while the engine has yet to choose. */
export function formatPort(port: PortSpec): string {
  const host = port.hostIp === '' ? '' : `${port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp}:`;
  return `${host}${port.published || '*'}->${port.target}/${protocolName(port.protocol)}`;
}
