import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { EngineApi, filters } from '../engine-api.ts';

/** Two places on two hosts, between which packets go. */
export interface Path {
  readonly name: string;
  readonly from: Place;
  readonly to: Place & { readonly address: string };
}

/** A network namespace of a host: the host's own, or that of a process of it. */
export interface Place {
  readonly host: Host;
  readonly pid?: number;
}

interface Inspected {
  readonly State: { readonly Pid: number };
}

/** From the container with the label on the first host to that on the second, once both run. */
export async function pathBetween(name: string, [a, b]: readonly Host[], label: string): Promise<Path> {
  if (!a || !b) throw new Error('two hosts are needed');
  const from = { host: a, pid: await pidOf(a, label) };
  const to = { host: b, pid: await pidOf(b, label) };
  return { name, from, to: { ...to, address: await addressOf(to) } };
}

async function pidOf(host: Host, label: string): Promise<number> {
  const api = new EngineApi(host.socket);
  for (let tries = 0; tries < 300; tries += 1) {
    const [found] = await api.call<{ Id: string }[]>('GET', `/containers/json?${filters({ label: [label] })}`);
    if (found) return (await api.call<Inspected>('GET', `/containers/${found.Id}/json`)).State.Pid;
    await sleep(100);
  }
  throw new Error(`no container with ${label} came to run on ${host.name}`);
}

/** The first address of a container's first device: on Swarm the second one leads out. */
async function addressOf(place: Place): Promise<string> {
  const shown = await place.host.exec(inside(place, ['ip', '-4', '-o', 'addr', 'show', 'dev', 'eth0']));
  const address = /inet ([\d.]+)/u.exec(shown)?.[1];
  if (address === undefined) throw new Error(`a container on ${place.host.name} has no address: ${shown}`);
  return address;
}

/** A command as it is run in a place. */
export function inside({ pid }: Place, argv: readonly string[]): string[] {
  return pid === undefined ? [...argv] : ['nsenter', `--net=/proc/${pid}/ns/net`, '--', ...argv];
}
