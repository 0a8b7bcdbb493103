import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { startSwarm } from '../swarm.ts';
import type { Contender } from './contender.ts';
import { command, image, serviceNames } from './contender.ts';

const label = 'bench.swarm';

/** Docker's own Swarm mode on the same engines: an overlay network a service, names by DNS round robin (no IPVS here). */
export async function swarm(hosts: readonly Host[]): Promise<Contender> {
  const api = await startSwarm(hosts);
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
            await sleep(100);
          }
        }
      }
    },
  };
}
