import type { Host } from '@berth/testing-hosts';
import { EngineApi } from '../engine-api.ts';
import type { Contender } from './contender.ts';
import { command, image, serviceNames } from './contender.ts';

const label = 'bench.swarm';
/** Its default is that of VXLAN everywhere; two systems on one host do not share it. */
const dataPathPort = 4790;

/** Docker's own Swarm mode on the same engines: an overlay network a service, names by DNS round robin (no IPVS here). */
export async function swarm(hosts: readonly Host[]): Promise<Contender> {
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
  return {
    name: 'Swarm',
    label,
    nameOf: (service) => service,
    serviceOf: (labels) => labels[label] ?? '',
    prepare: async () => undefined,
    async up(load) {
      await Promise.all(
        serviceNames(load).map(async (service) => {
          await api.call('POST', '/networks/create', {
            Name: `net-${service}`,
            Driver: 'overlay',
            CheckDuplicate: true,
          });
          await api.call('POST', '/services/create', {
            Name: service,
            TaskTemplate: {
              ContainerSpec: { Image: image, Args: command, StopSignal: 'SIGKILL', Labels: { [label]: service } },
              Networks: [{ Target: `net-${service}` }],
              // Nothing is to be asked of a registry.
              Placement: { Platforms: [] },
            },
            Mode: { Replicated: { Replicas: load.replicas } },
            EndpointSpec: { Mode: 'dnsrr' },
          });
        }),
      );
    },
    async zero(load) {
      await Promise.all(serviceNames(load).map((service) => api.call('DELETE', `/services/${service}`)));
    },
    async clean(load) {
      for (const service of serviceNames(load)) {
        // Its last tasks let go of it a moment after their containers are gone.
        for (let tries = 0; ; tries += 1) {
          try {
            await api.call('DELETE', `/networks/net-${service}`);
            break;
          } catch (error) {
            if (tries === 100) throw error;
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
        }
      }
    },
  };
}
