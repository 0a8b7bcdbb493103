import { ChangeAction } from '@berth/contracts/scheduler';
import { DependencyCondition, MountType, NetworkMode, Protocol } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import { replicas, serviceSpec, stackSpec } from '../../testing/builders.ts';
import { normalise } from './accept.ts';
import { hostPortsOf, sameVersion, versionContent } from './derive.ts';
import { diffStack } from './diff.ts';
import { validateStack } from './validate.ts';

const three = () => 3;
const http = { target: 80, published: 8080, protocol: Protocol.PROTOCOL_TCP, hostIp: '' };

describe('diffStack', () => {
  const base = stackSpec(
    'shop',
    [
      serviceSpec('web', { mode: replicas(3), container: { image: 'web:1', environment: { SECRET: 'a', OLD: 'x' } } }),
      serviceSpec('db', {
        container: { image: 'db:1', mounts: [{ type: MountType.MOUNT_TYPE_VOLUME, source: 'data', target: '/d' }] },
      }),
    ],
    { volumes: [{ name: 'data' }], networks: [{ name: 'default' }] },
  );
  const changed = (change: (spec: typeof base) => void) => {
    const copy = structuredClone(base);
    change(copy);
    return diffStack(base, copy, three);
  };

  it('is empty for the same spec, in whatever order', () => {
    expect(diffStack(base, structuredClone(base), three)).toEqual([]);
    const turned = { ...base, services: [...base.services].reverse() };
    expect(diffStack(normalise(base), normalise(turned), three)).toEqual([]);
  });

  it('creates everything of a new stack and counts its tasks', () => {
    const changes = diffStack(
      undefined,
      { ...base, services: [...base.services, serviceSpec('all', { mode: { $case: 'global', value: {} } })] },
      three,
    );
    expect(changes.map(({ kind, name, action, tasksCreated }) => [kind, name, action, tasksCreated])).toEqual([
      ['service', 'all', ChangeAction.CHANGE_ACTION_CREATE, 3],
      ['service', 'db', ChangeAction.CHANGE_ACTION_CREATE, 1],
      ['service', 'web', ChangeAction.CHANGE_ACTION_CREATE, 3],
      ['network', 'default', ChangeAction.CHANGE_ACTION_CREATE, 0],
      ['volume', 'data', ChangeAction.CHANGE_ACTION_CREATE, 0],
    ]);
  });

  it('one replica more creates one task and replaces none', () => {
    expect(
      changed((spec) => {
        spec.services[0]!.mode = replicas(4);
      }),
    ).toMatchObject([
      {
        name: 'web',
        tasksCreated: 1,
        tasksReplaced: 0,
        tasksRemoved: 0,
        fields: [{ path: 'mode.replicated.replicas', before: '3', after: '4' }],
      },
    ]);
  });

  it('another image replaces every task', () => {
    expect(
      changed((spec) => {
        spec.services[0]!.container!.image = 'web:2';
      }),
    ).toMatchObject([
      {
        name: 'web',
        tasksCreated: 0,
        tasksReplaced: 3,
        fields: [{ path: 'container.image', before: 'web:1', after: 'web:2' }],
      },
    ]);
  });

  it('names environment variables, never their values', () => {
    const [change] = changed((spec) => {
      spec.services[0]!.container!.environment = { SECRET: 'hunter2', NEW: '' };
    });
    expect(change?.fields).toEqual([
      { path: 'container.environment.NEW', before: '', after: '' },
      { path: 'container.environment.OLD', before: '', after: '' },
      { path: 'container.environment.SECRET', before: '', after: '' },
    ]);
    expect(JSON.stringify(change)).not.toContain('hunter2');
    expect(change?.tasksReplaced).toBe(3);
  });

  it('an emptied command differs from one that is not set', () => {
    const [change] = changed((spec) => {
      spec.services[0]!.container!.command = { values: [] };
    });
    expect(change?.fields).toEqual([{ path: 'container.command', before: '', after: '[]' }]);
  });

  it('labels and dependencies replace nothing', () => {
    const changes = changed((spec) => {
      spec.services[0]!.labels = { a: 'b' };
      spec.services[0]!.dependsOn = [{ service: 'db', condition: DependencyCondition.DEPENDENCY_CONDITION_STARTED }];
    });
    expect(changes).toMatchObject([
      { name: 'web', tasksReplaced: 0, fields: [{ path: 'dependsOn' }, { path: 'labels.a' }] },
    ]);
  });

  it('a changed volume replaces the tasks that use it, and only those', () => {
    const changes = changed((spec) => {
      spec.volumes[0]!.driverOpts = { type: 'nfs' };
    });
    expect(changes.map(({ kind, name, tasksReplaced }) => [kind, name, tasksReplaced])).toEqual([
      ['service', 'db', 1],
      ['volume', 'data', 0],
    ]);
  });

  it('another mode removes the old tasks and creates the new ones', () => {
    expect(
      changed((spec) => {
        spec.services[0]!.mode = { $case: 'global', value: {} };
      }),
    ).toMatchObject([{ name: 'web', tasksCreated: 3, tasksRemoved: 3, tasksReplaced: 0 }]);
  });

  it('removes what is no longer declared', () => {
    expect(
      changed((spec) => {
        spec.services.pop();
      }),
    ).toMatchObject([{ name: 'db', action: ChangeAction.CHANGE_ACTION_REMOVE, tasksRemoved: 1 }]);
  });
});

describe('versions', () => {
  it('do not depend on the order of keys', () => {
    const of = (environment: Record<string, string>) => {
      const spec = serviceSpec('a', { container: { image: 'a', environment } });
      return versionContent(stackSpec('x', [spec]), spec);
    };
    expect(sameVersion(of({ A: '1', B: '2' }), of({ B: '2', A: '1' }))).toBe(true);
    expect(sameVersion(of({ A: '1' }), of({ A: '2' }))).toBe(false);
  });

  it('host ports are the fixed published ones; with the host network what is exposed', () => {
    expect(hostPortsOf(serviceSpec('a', { ports: [http, { ...http, published: 0 }] }))).toEqual([http]);
    expect(
      hostPortsOf(
        serviceSpec('a', {
          container: { image: 'a', networkMode: NetworkMode.NETWORK_MODE_HOST },
          expose: [{ port: 53, protocol: Protocol.PROTOCOL_UDP }],
        }),
      ),
    ).toEqual([{ target: 53, published: 53, protocol: Protocol.PROTOCOL_UDP, hostIp: '' }]);
  });
});

describe('validateStack', () => {
  const problem = (spec: Parameters<typeof validateStack>[0]) => {
    try {
      validateStack(spec);
      return undefined;
    } catch (error) {
      return String(error);
    }
  };

  it('accepts what can stand', () => expect(problem(stackSpec('shop', [serviceSpec('web')]))).toBeUndefined());

  it.each([
    ['no image', stackSpec('x', [serviceSpec('a', { container: { image: '' } })]), /service "a" has no image/u],
    ['bad name', stackSpec('X Y', []), /stack "X Y" is no name/u],
    ['reserved name', stackSpec('berth', []), /stands for the control plane/u],
    ['twice', stackSpec('x', [serviceSpec('a'), serviceSpec('a')]), /service "a" is declared twice/u],
    [
      'unknown network',
      stackSpec('x', [serviceSpec('a', { networks: [{ network: 'n' }] })]),
      /network "n", which is not declared/u,
    ],
    [
      'unknown volume',
      stackSpec('x', [
        serviceSpec('a', {
          container: { image: 'a', mounts: [{ type: MountType.MOUNT_TYPE_VOLUME, source: 'v', target: '/' }] },
        }),
      ]),
      /volume "v"/u,
    ],
    [
      'circle',
      stackSpec('x', [
        serviceSpec('a', { dependsOn: [{ service: 'b' }] }),
        serviceSpec('b', { dependsOn: [{ service: 'a' }] }),
      ]),
      /circle: a -> b -> a/u,
    ],
    ['port', stackSpec('x', [serviceSpec('a', { ports: [{ ...http, target: 70_000 }] })]), /70000 is no port/u],
    [
      'port twice',
      stackSpec('x', [serviceSpec('a', { ports: [http, { ...http, target: 81 }] })]),
      /host port 8080 twice/u,
    ],
    [
      'constraint',
      stackSpec('x', [serviceSpec('a', { constraints: ['node.role == chief'] })]),
      /"manager" or "worker"/u,
    ],
    ['replicas', stackSpec('x', [serviceSpec('a', { mode: replicas(1_000_000) })]), /at most 10000/u],
    [
      'host and networks',
      stackSpec(
        'x',
        [
          serviceSpec('a', {
            container: { image: 'a', networkMode: NetworkMode.NETWORK_MODE_HOST },
            networks: [{ network: 'n' }],
          }),
        ],
        { networks: [{ name: 'n' }] },
      ),
      /network_mode and networks/u,
    ],
  ])('refuses: %s', (_name, spec, message) => expect(problem(spec)).toMatch(message));
});
