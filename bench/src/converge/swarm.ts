import type { Host } from '@berth/testing-hosts';
import { removeNetwork } from '../engine-api.ts';
import { localImage, startSwarm } from '../swarm.ts';
import type { Contender } from './contender.ts';
import { command, image, serviceNames } from './contender.ts';

const label = 'bench.swarm';

/** Docker's own Swarm mode on the same engines: an overlay network a service, names by DNS round robin (no IPVS here). */
export async function swarm(hosts: readonly Host[]): Promise<Contender> {
  const api = await startSwarm(hosts);
  const Image = await localImage(api, image);
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
              ContainerSpec: { Image, Args: command, StopSignal: 'SIGKILL', Labels: { [label]: service } },
              Networks: [{ Target: `net-${service}` }],
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
      for (const service of serviceNames(load)) await removeNetwork(api, `net-${service}`);
    },
  };
}
