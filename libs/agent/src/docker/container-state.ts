import type { ContainerPhase, ContainerState, PublishedPort } from '@berth/kernel';
import type { ContainerInspectInfo } from 'dockerode';
import { isEngineTrouble } from './docker-errors.ts';

const healthOutputMax = 500;
/** The engine's "never". */
const zeroYear = '0001-';

/** What the engine shows of a container, in our words. */
export function containerState(info: ContainerInspectInfo): ContainerState {
  const health = info.State.Health;
  return {
    id: info.Id,
    name: info.Name.replace(/^\//u, ''),
    labels: info.Config.Labels ?? {},
    phase: phaseOf(info),
    health: healthOf(health?.Status),
    healthOutput: (health?.Log?.at(-1)?.Output ?? '').trim().slice(0, healthOutputMax),
    ports: publishedPorts(info.NetworkSettings.Ports ?? {}),
  };
}

function phaseOf({ State: state }: ContainerInspectInfo): ContainerPhase {
  const startedAtMs = timeOf(state.StartedAt);
  // A paused or restarting container still is one that was started and has not ended.
  if (state.Running || state.Paused) return { kind: 'running', startedAtMs };
  const error = state.OOMKilled ? 'out of memory' : explained(state.Error ?? '');
  if (state.Status === 'created' && state.ExitCode === 0 && error === '') return { kind: 'created' };
  // A start that the engine could not even try is still to be made.
  if (startedAtMs === 0 && isEngineTrouble(error)) return { kind: 'created' };
  return { kind: 'exited', exitCode: state.ExitCode, startedAtMs, finishedAtMs: timeOf(state.FinishedAt), error };
}

/** The engine's reason why a container could not start; of a taken host port also whose fault that is. */
export function explained(error: string): string {
  if (!/address already in use|port is already allocated/u.test(error)) return error;
  const address = /(\S+:\d+)(?:\/\w+)?:? (?:bind|failed)/u.exec(error)?.[1] ?? 'of the task';
  return (
    `host port ${address} is held by something else on this host, outside the cluster (${error}). Remedy: stop it (ss -lptn ` +
    'names it), or publish another port.'
  );
}

function healthOf(status: string | undefined): ContainerState['health'] {
  return status === 'starting' || status === 'healthy' || status === 'unhealthy' ? status : 'none';
}

function timeOf(text: string): number {
  const ms = Date.parse(text);
  return Number.isNaN(ms) || text.startsWith(zeroYear) ? 0 : ms;
}

type EnginePorts = Readonly<Record<string, readonly { HostIp: string; HostPort: string }[] | null | undefined>>;

function publishedPorts(ports: EnginePorts): PublishedPort[] {
  const result: PublishedPort[] = [];
  for (const [key, bindings] of Object.entries(ports)) {
    const [target = '', protocol = 'tcp'] = key.split('/');
    for (const binding of bindings ?? []) {
      result.push({
        target: Number(target),
        published: Number(binding.HostPort),
        protocol: protocol === 'udp' || protocol === 'sctp' ? protocol : 'tcp',
        hostIp: binding.HostIp,
      });
    }
  }
  return result.sort((a, b) => a.target - b.target || a.published - b.published || (a.hostIp < b.hostIp ? -1 : 1));
}
