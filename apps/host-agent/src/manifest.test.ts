import { isOneShot, staticAssignments } from '@berth/agent';
import { describe, expect, it } from 'vitest';
import { schema } from './config.ts';
import { loadManifest, manifestVariables } from './manifest.ts';

const config = schema.parse({ advertise: '198.18.0.11', imageTag: 'test' });
const cluster = {
  clusterId: 'c1',
  advertise: '198.18.0.11',
  networkPool: '10.64.0.0/10',
  rangePrefix: 22,
  blockPrefix: 26,
  operator: 'admin',
  labels: {},
  tokenHash: 'ab'.repeat(32),
};
const owner = { clusterId: 'c1', nodeId: '', address: '198.18.0.11' };

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

  it('has one one-shot, which all but etcd wait for', () => {
    const statics = staticAssignments(manifest, owner);
    expect(statics.filter((a) => isOneShot(a.spec)).map((a) => a.task?.service)).toEqual(['bootstrap']);
    expect(statics.filter((a) => a.spec?.dependsOn.length === 0).map((a) => a.task?.service)).toEqual(['etcd']);
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
});
