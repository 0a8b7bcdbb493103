import { isOneShot, natsFolders, staticAssignments } from '@berth/agent';
import { describe, expect, it } from 'vitest';
import { schema } from './config.ts';
import { loadManifest, manifestVariables, replicaAddresses } from './manifest.ts';

const config = schema.parse({ advertise: '198.18.0.11', imageTag: 'test' });
const cluster = {
  clusterId: 'c1',
  advertise: '198.18.0.11',
  networkPool: '10.64.0.0/10',
  rangePrefix: 22,
  blockPrefix: 26,
  operator: 'admin',
  labels: {},
  createdAtMs: 1,
  tokenHash: 'ab'.repeat(32),
};
const owner = { clusterId: 'c1', nodeId: '', address: '198.18.0.11', sinceMs: 1 };

describe("the control plane's Compose file", () => {
  const manifest = loadManifest(config.manifest, manifestVariables(config, cluster, {}));

  it('is read as any Compose file, with every variable filled in', () => {
    expect(manifest.services.map((s) => s.name)).toEqual([
      'bootstrap',
      'etcd',
      'nats',
      'network-manager',
      'registry',
      'scheduler',
    ]);
    const text = JSON.stringify(manifest);
    expect(text).not.toContain('undefined');
    expect(text).not.toContain('${');
    expect(manifest.services.find((s) => s.name === 'registry')?.container?.image).toBe('berth/registry:test');
  });

  it('has second replicas in profile ha: with ports of their own, and the identity of the first', () => {
    const ha = schema.parse({ advertise: '198.18.0.11', profiles: 'ha', schedulerPort: '9411' });
    const { services } = loadManifest(ha.manifest, manifestVariables(ha, cluster, {}), ha.profiles);
    const settings = (name: string) => services.find((s) => s.name === name)?.container?.environment;
    const both = '198.18.0.11:7401,198.18.0.11:7501';
    expect(replicaAddresses(ha, cluster.advertise, ha.registryPort).join(',')).toBe(both);
    expect(settings('scheduler')).toMatchObject({ BERTH_GRPC_PORT: '9411', BERTH_REGISTRY_ADDRESSES: both });
    expect(settings('scheduler-2')).toEqual({
      ...settings('scheduler'),
      BERTH_GRPC_PORT: '9511',
      BERTH_HTTP_PORT: '7513',
    });
    for (const name of ['registry', 'scheduler', 'network-manager']) {
      const [first, second] = [name, `${name}-2`].map((each) => services.find((s) => s.name === each));
      expect(second?.container?.mounts).toEqual(first?.container?.mounts);
      expect(second?.container?.healthcheck).toEqual(first?.container?.healthcheck);
      expect(second?.reservations).toEqual(first?.reservations);
    }
    const ports = services.flatMap(({ expose }) => expose.map(({ port }) => port));
    expect(new Set(ports).size).toBe(ports.length);
  });

  it('has one one-shot, which all but etcd wait for', () => {
    const statics = staticAssignments(manifest, owner);
    expect(statics.filter((a) => isOneShot(a.spec)).map((a) => a.task?.service)).toEqual(['bootstrap']);
    expect(statics.filter((a) => a.spec?.dependsOn.length === 0).map((a) => a.task?.service)).toEqual(['etcd']);
  });

  it('mounts the folders of NATS where its configuration looks for them', () => {
    const mounts = manifest.services.find((s) => s.name === 'nats')?.container?.mounts ?? [];
    const target = (source: string) => mounts.find((m) => m.source === `${config.stateDir}/${source}`)?.target;
    const { values = [] } = manifest.services.find((s) => s.name === 'nats')?.container?.command ?? {};
    expect(values).toContain(`${target(natsFolders.config)}/nats.conf`);
    expect(target('certs/nats')).toBe(natsFolders.certs);
    expect(target('nats/data')).toBe(natsFolders.data);
  });

  it('gives the same tasks each time, and another one for what has changed', () => {
    const ids = (env: Record<string, string>) =>
      staticAssignments(loadManifest(config.manifest, manifestVariables(config, cluster, env)), owner).map(
        (a) => a.task?.id,
      );
    const before = ids({});
    expect(ids({})).toEqual(before);
    const after = ids({ BERTH_IMAGE_REGISTRY: 'berth/registry:new' });
    expect(after.filter((id) => !before.includes(id))).toHaveLength(1);
  });

  it('hands on what the cluster was made with and what the agent was told', () => {
    const told = schema.parse({ advertise: '198.18.0.1', stateDir: '/state', natsHttpPort: '9453', joinPort: '9402' });
    const other = loadManifest(told.manifest, manifestVariables(told, { ...cluster, rangePrefix: 23 }, {}));
    const container = (name: string) => other.services.find((service) => service.name === name)?.container;
    expect(container('bootstrap')?.environment).toMatchObject({
      BERTH_CLUSTER_ID: 'c1',
      BERTH_TOKEN_SHA256: 'ab'.repeat(32),
      BERTH_NETWORK_POOL: '10.64.0.0/10',
      BERTH_RANGE_PREFIX: '23',
      BERTH_BLOCK_PREFIX: '26',
    });
    expect(container('registry')?.environment).toMatchObject({
      BERTH_ADVERTISE: '198.18.0.11',
      BERTH_JOIN_PORT: '9402',
      BERTH_SIGNER_ADDRESSES: '198.18.0.11:7432',
    });
    expect(container('nats')?.healthcheck?.test.join(' ')).toContain('/dev/tcp/127.0.0.1/9453');
    const sources = other.services.flatMap((service) => service.container?.mounts.map(({ source }) => source) ?? []);
    expect(sources.filter((source) => !source.startsWith('/state/'))).toEqual([]);
  });
});
