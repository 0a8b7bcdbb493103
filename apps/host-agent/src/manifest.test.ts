import type { ClusterState } from '@berth/agent';
import { describe, expect, it } from 'vitest';
import { schema } from './config.ts';
import { loadManifest, manifestVariables } from './manifest.ts';

const cluster: ClusterState = {
  clusterId: 'c1',
  advertise: '198.18.0.1',
  networkPool: '10.64.0.0/12',
  rangePrefix: 23,
  blockPrefix: 27,
  operator: 'admin',
  labels: {},
  tokenHash: 'a'.repeat(64),
};
const config = schema.parse({ advertise: '198.18.0.1', stateDir: '/state', natsHttpPort: '9453', joinPort: '9402' });

describe('the manifest of the control plane', () => {
  const load = (env = {}) => loadManifest(config.manifest, manifestVariables(config, cluster, env));
  const container = (name: string) => load().services.find((service) => service.name === name)?.container;

  it('takes everything from the cluster and the configuration, and nothing is left unset', () => {
    expect(container('bootstrap')?.environment).toMatchObject({
      BERTH_CLUSTER_ID: 'c1',
      BERTH_TOKEN_SHA256: 'a'.repeat(64),
      BERTH_NETWORK_POOL: '10.64.0.0/12',
      BERTH_RANGE_PREFIX: '23',
      BERTH_BLOCK_PREFIX: '27',
      BERTH_ETCD_ENDPOINTS: 'https://198.18.0.1:7441',
    });
    expect(container('registry')?.environment).toMatchObject({
      BERTH_ADVERTISE: '198.18.0.1',
      BERTH_JOIN_PORT: '9402',
      BERTH_SIGNER_ADDRESSES: '198.18.0.1:7432',
    });
    expect(container('nats')?.healthcheck?.test.join(' ')).toContain('/dev/tcp/127.0.0.1/9453');
    const sources = load().services.flatMap((service) => service.container?.mounts.map(({ source }) => source) ?? []);
    expect(sources.filter((source) => !source.startsWith('/state/'))).toEqual([]);
  });

  it('names images by tag, unless the environment names one', () => {
    const images = (env = {}) => load(env).services.map((service) => service.container?.image);
    expect(images()).toContain('berth/network-manager:dev');
    expect(images({ BERTH_IMAGE_NETWORK_MANAGER: 'berth/network-manager:abc' })).toContain('berth/network-manager:abc');
  });

  it('is the same at every start', () => {
    expect(load()).toEqual(load());
  });
});
