import type { ContainerSpec, ServiceSpec } from '@berth/contracts/workload';
import { MountType, NetworkMode, Protocol } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import { assignmentFixture } from '../domain/assignment-fixture.ts';
import { planRun } from '../domain/run-plan.ts';
import { createOptions, laterJoins } from './container-spec.ts';

const node = { clusterId: 'c1', nodeId: 'n1', hostname: 'h1' };
const mount = {
  source: '',
  readOnly: false,
  propagation: '',
  tmpfsSizeBytes: 0,
  tmpfsMode: 0,
  createHostPath: false,
  volumeNocopy: false,
  relativeSource: '',
};
const data = { name: 'data', driver: '', driverOpts: {}, labels: {}, externalName: '' };
const shared = { ...data, name: 'shared', externalName: 'everybodys' };

function options(container: Partial<ContainerSpec>, spec: Partial<ServiceSpec> = {}) {
  const assignment = assignmentFixture('abcdefgh', {
    spec,
    container,
    assignment: { volumes: [data, shared] },
  });
  return createOptions(planRun(assignment, 3, node, undefined));
}

describe('createOptions', () => {
  it('leaves to image and engine what the task does not say', () => {
    expect(JSON.parse(JSON.stringify(options({})))).toEqual({
      name: 'berth-abcdefgh-3',
      Image: 'test/shell',
      Env: [],
      Labels: {
        'berth.cluster': 'c1',
        'berth.task': 'abcdefgh',
        'berth.run': '3',
        'berth.stack': 'shop',
        'berth.stack-id': 'stack1',
        'berth.service': 'web',
        'berth.node': 'n1',
      },
      StopTimeout: 10,
      HostConfig: { NetworkMode: 'host', ReadonlyRootfs: false, RestartPolicy: { Name: 'no' } },
    });
  });

  it.each<[string, Partial<ContainerSpec>, object]>([
    ['an entrypoint', { entrypoint: { values: ['a', 'b'] } }, { Entrypoint: ['a', 'b'] }],
    ['a cleared entrypoint', { entrypoint: { values: [] } }, { Entrypoint: [] }],
    ['a command', { command: { values: ['x'] } }, { Cmd: ['x'] }],
    ['an environment', { environment: { A: '1', B: 'x=y' } }, { Env: ['A=1', 'B=x=y'] }],
    ['a user', { user: '1000:1000' }, { User: '1000:1000' }],
    ['a folder', { workingDir: '/srv' }, { WorkingDir: '/srv' }],
    ['a host name', { hostname: 'db' }, { Hostname: 'db' }],
    ['a signal', { stopSignal: 'SIGQUIT' }, { StopSignal: 'SIGQUIT' }],
    ['a grace period, rounded up', { stopGracePeriodMs: 1500 }, { StopTimeout: 2 }],
    [
      'capabilities',
      { capAdd: ['NET_ADMIN'], capDrop: ['ALL'] },
      { HostConfig: { CapAdd: ['NET_ADMIN'], CapDrop: ['ALL'] } },
    ],
    ['a read-only root', { readOnly: true }, { HostConfig: { ReadonlyRootfs: true } }],
    ['an init', { init: true }, { HostConfig: { Init: true } }],
    [
      'sysctls',
      { sysctls: { 'net.core.somaxconn': '99' } },
      { HostConfig: { Sysctls: { 'net.core.somaxconn': '99' } } },
    ],
    [
      'ulimits',
      { ulimits: [{ name: 'nofile', soft: 10, hard: 20 }] },
      { HostConfig: { Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }] } },
    ],
    ['extra hosts', { extraHosts: ['db:198.18.0.1'] }, { HostConfig: { ExtraHosts: ['db:198.18.0.1'] } }],
    ['no network', { networkMode: NetworkMode.NETWORK_MODE_NONE }, { HostConfig: { NetworkMode: 'none' } }],
    [
      'a named volume',
      { mounts: [{ ...mount, type: MountType.MOUNT_TYPE_VOLUME, source: 'data', target: '/d', readOnly: true }] },
      { HostConfig: { Mounts: [{ Type: 'volume', Source: 'shop_data', Target: '/d', ReadOnly: true }] } },
    ],
    [
      'a volume with a name of its own, not filled from the image',
      { mounts: [{ ...mount, type: MountType.MOUNT_TYPE_VOLUME, source: 'shared', target: '/d', volumeNocopy: true }] },
      { HostConfig: { Mounts: [{ Source: 'everybodys', VolumeOptions: { NoCopy: true } }] } },
    ],
    [
      'an anonymous volume',
      { mounts: [{ ...mount, type: MountType.MOUNT_TYPE_VOLUME, target: '/d' }] },
      { HostConfig: { Mounts: [{ Type: 'volume', Source: '', Target: '/d' }] } },
    ],
    [
      'a bind whose path must exist',
      { mounts: [{ ...mount, type: MountType.MOUNT_TYPE_BIND, source: '/s', target: '/d', propagation: 'rshared' }] },
      { HostConfig: { Mounts: [{ Type: 'bind', Source: '/s', BindOptions: { Propagation: 'rshared' } }] } },
    ],
    [
      'a bind whose path is created',
      {
        mounts: [
          {
            ...mount,
            type: MountType.MOUNT_TYPE_BIND,
            source: '/s',
            target: '/d',
            createHostPath: true,
            readOnly: true,
            propagation: 'rslave',
          },
        ],
      },
      { HostConfig: { Binds: ['/s:/d:ro,rslave'] } },
    ],
    [
      'memory as a file system',
      { mounts: [{ ...mount, type: MountType.MOUNT_TYPE_TMPFS, target: '/t', tmpfsSizeBytes: 5, tmpfsMode: 0o1777 }] },
      { HostConfig: { Mounts: [{ Type: 'tmpfs', TmpfsOptions: { SizeBytes: 5, Mode: 0o1777 } }] } },
    ],
    [
      'no health check',
      { healthcheck: { disable: true, test: [], intervalMs: 0, timeoutMs: 0, retries: 0, startPeriodMs: 0 } },
      { Healthcheck: { Test: ['NONE'] } },
    ],
    [
      'a health check in nanoseconds',
      {
        healthcheck: { disable: false, test: ['CMD', 'ok'], intervalMs: 1, timeoutMs: 2, retries: 3, startPeriodMs: 4 },
      },
      {
        Healthcheck: {
          Test: ['CMD', 'ok'],
          Interval: 1_000_000,
          Timeout: 2_000_000,
          Retries: 3,
          StartPeriod: 4_000_000,
        },
      },
    ],
  ])('%s', (_, container, expected) => {
    expect(options(container)).toMatchObject(expected);
  });

  it('limits, reservations and labels', () => {
    const made = options(
      { labels: { app: 'x', 'berth.task': 'forged' } },
      { limits: { cpuMillis: 1500, memoryBytes: 1 << 20 }, reservations: { cpuMillis: 0, memoryBytes: 1 << 19 } },
    );
    expect(made.HostConfig).toMatchObject({ NanoCpus: 1.5e9, Memory: 1 << 20, MemoryReservation: 1 << 19 });
    expect(made.Labels).toMatchObject({ app: 'x', 'berth.task': 'abcdefgh' });
  });

  it('a volume that the stack does not declare is refused', () => {
    const mounts = [{ ...mount, type: MountType.MOUNT_TYPE_VOLUME, source: 'typo', target: '/d' }];
    expect(() => options({ mounts })).toThrow(/typo/);
  });

  it('networks: fixed addresses, our DNS, no search domain, no aliases, host name without a dot', () => {
    const assignment = assignmentFixture('abcdefgh', {
      container: { networkMode: NetworkMode.NETWORK_MODE_UNSPECIFIED },
      spec: {
        ports: [
          { target: 80, published: 8080, protocol: Protocol.PROTOCOL_TCP, hostIp: '127.0.0.1' },
          { target: 80, published: 0, protocol: Protocol.PROTOCOL_TCP, hostIp: '' },
        ],
        expose: [{ port: 53, protocol: Protocol.PROTOCOL_UDP }],
      },
    });
    const joins = ['a', 'b'].map((name, i) => ({
      networkId: name,
      network: name,
      dockerNetwork: `berth-${name}`,
      ip: `10.64.0.${i + 2}`,
    }));
    const plan = planRun(assignment, 1, node, { joins, dnsServers: ['10.64.0.1'], dnsOptions: ['timeout:1'] });
    const made = createOptions(plan);
    expect(made.HostConfig).toMatchObject({
      NetworkMode: 'berth-a',
      Dns: ['10.64.0.1'],
      DnsOptions: ['timeout:1'],
      DnsSearch: ['.'],
      PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }, { HostPort: '' }] },
    });
    expect(made.NetworkingConfig).toEqual({
      EndpointsConfig: { 'berth-a': { IPAMConfig: { IPv4Address: '10.64.0.2' } } },
    });
    expect(made.ExposedPorts).toEqual({ '53/udp': {}, '80/tcp': {} });
    expect(made.Hostname).toBe('web-1-abcdef');
    expect(laterJoins(plan)).toEqual([joins[1]]);
    expect(made.Labels?.['berth.joins']).toBe(JSON.stringify(joins));
  });

  it("on the host's network nothing is published and the host name stays", () => {
    const ports = [{ target: 80, published: 8080, protocol: Protocol.PROTOCOL_TCP, hostIp: '' }];
    const made = options({}, { ports, expose: [{ port: 80, protocol: Protocol.PROTOCOL_TCP }] });
    expect([made.HostConfig?.PortBindings, made.ExposedPorts, made.Hostname]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});
