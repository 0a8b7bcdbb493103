import type { Host } from '@berth/testing-hosts';
import { EngineApi } from './engine-api.ts';

/** Its default is that of VXLAN everywhere; two systems on one host do not share it. */
const dataPathPort = 4790;

/** Makes the hosts' engines a swarm, the first its manager; returns the manager's API. */
export async function startSwarm(hosts: readonly Host[]): Promise<EngineApi> {
  const [manager, ...workers] = hosts as [Host, ...Host[]];
  const api = new EngineApi(manager.socket);
  await api.call('POST', '/swarm/init', {
    ListenAddr: `${manager.address}:2377`,
    AdvertiseAddr: manager.address,
    DataPathPort: dataPathPort,
    DefaultAddrPool: ['198.18.192.0/18'],
    SubnetSize: 24,
  });
  const { JoinTokens } = await api.call<{ JoinTokens: { Worker: string } }>('GET', '/swarm');
  for (const worker of workers) {
    await new EngineApi(worker.socket).call('POST', '/swarm/join', {
      ListenAddr: `${worker.address}:2377`,
      AdvertiseAddr: worker.address,
      RemoteAddrs: [`${manager.address}:2377`],
      JoinToken: JoinTokens.Worker,
    });
  }
  return api;
}

/** How often workers tell that they live; Swarm's default is 5 s. */
export async function setHeartbeat(api: EngineApi, seconds: number): Promise<void> {
  const { Version, Spec } = await api.call<{ Version: { Index: number }; Spec: object }>('GET', '/swarm');
  const Dispatcher = { HeartbeatPeriod: seconds * 1e9 };
  await api.call('POST', `/swarm/update?version=${Version.Index}`, { ...Spec, Dispatcher });
}

/**
 * Id of a local image. A task whose image is an id takes what the host has; of a name Swarm asks the registry for every
 * task first, which where there is none costs seconds that are not its own.
 */
export async function localImage(api: EngineApi, name: string): Promise<string> {
  return (await api.call<{ Id: string }>('GET', `/images/${name}/json`)).Id;
}
