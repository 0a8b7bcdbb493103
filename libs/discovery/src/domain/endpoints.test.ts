import { Change as NetworkChange } from '@berth/contracts/network';
import type { EndpointRecord } from '@berth/contracts/registry';
import { AnnounceEndpointsRequest, Endpoint, NodeStatus } from '@berth/contracts/registry';
import { TaskView } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import type { StoredEntry } from '@berth/kernel';
import { headKey, packTxns } from '@berth/kernel';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EndpointWrite, ServingWorld } from './endpoints.ts';
import { faultOf, forgottenEndpoints, mayServe, planAnnouncement, reconcileEndpoints } from './endpoints.ts';
import { NetworkFacts } from './network-facts.ts';
import { RegistryView } from './registry-view.ts';
import { endpointGroups } from './writes.ts';

const { DESIRED_STATE_RUNNING, DESIRED_STATE_SHUTDOWN } = DesiredState;

class World implements ServingWorld {
  tasksSynced = true;
  readonly tasks = new Map<string, TaskView>();
  readonly statuses = new Map<string, NodeStatus>();
  readonly networks = new NetworkFacts();
  networksSynced = false;

  set(id: string, nodeId: string, desired: DesiredState = DESIRED_STATE_RUNNING): void {
    this.tasks.set(id, TaskView.fromPartial({ task: { id, nodeId, desired, service: 'web', slot: 1, stackId: 's1' } }));
  }

  task(id: string): TaskView | undefined {
    return this.tasks.get(id);
  }

  hostname(): string {
    return 'h1';
  }

  nodeStatus(id: string): NodeStatus {
    return this.statuses.get(id) ?? NodeStatus.NODE_STATUS_READY;
  }
}

/** The store for one writer, mirrored into the view. */
class Model {
  readonly view = new RegistryView();
  readonly entries = new Map<string, StoredEntry>();
  revision = 1;
  /** Keys of each txn so far. */
  readonly txns: string[][] = [];

  commit(writes: readonly EndpointWrite[]): void {
    const scopes = {
      endpointCount: (networkId: string) => this.view.endpointCount(networkId),
      headOf: (networkId: string) => this.entries.get(headKey('registry', `network.${networkId}`))?.modRevision,
    };
    for (const { compares, ops } of packTxns(endpointGroups(writes, scopes))) {
      for (const compare of compares) {
        const entry = this.entries.get(compare.key);
        if (compare.kind === 'absent') expect(entry).toBeUndefined();
        else if (compare.kind === 'unchanged') expect(entry?.modRevision).toBe(compare.modRevision);
      }
      this.revision += 1;
      this.txns.push(ops.map((op) => op.key));
      const changes = ops.map((op) => {
        if (op.kind === 'delete') {
          this.entries.delete(op.key);
          return { kind: 'delete' as const, key: op.key };
        }
        const entry = { key: op.key, value: op.value, modRevision: this.revision, createRevision: this.revision };
        this.entries.set(op.key, entry);
        return { kind: 'put' as const, entry };
      });
      const before = this.shown();
      const told = this.view.apply(changes);
      // A scope's head is touched exactly where something public changed in it.
      const heads = ops.filter(({ key }) => key.startsWith('registry/head/')).map(({ key }) => key);
      expect(new Set(told.flatMap((change) => change.scopes.map((scope) => headKey('registry', scope))))).toEqual(
        new Set(heads),
      );
      for (const { key, resource } of told) {
        if (resource) before.set(key, resource.value);
        else before.delete(key);
      }
      expect(this.shown()).toEqual(before);
    }
  }

  shown(): Map<string, unknown> {
    return new Map(this.view.snapshot().map(({ key, resource }) => [key, resource?.value]));
  }

  announce(nodeId: string, partial: Partial<AnnounceEndpointsRequest>, world: ServingWorld): EndpointWrite[] {
    const writes = planAnnouncement({
      nodeId,
      request: AnnounceEndpointsRequest.fromPartial(partial),
      current: (network, task) => this.view.endpoints.get(network, task),
      ofNode: this.view.endpointsOfNode(nodeId),
      world,
    });
    this.commit(writes);
    return writes;
  }
}

const endpoint = (taskId: string, partial: Partial<Endpoint> = {}) =>
  Endpoint.fromPartial({
    taskId,
    networkId: 'n1',
    stackId: 's1',
    service: 'web',
    ip: '10.64.0.2',
    names: ['Web'],
    taskName: 'web.1',
    healthy: true,
    ...partial,
  });

describe('mayServe', () => {
  it('serves while the task is wanted on that node and the node is not lost', () => {
    const world = new World();
    const mine = endpoint('t1', { nodeId: 'a' });
    expect(mayServe(mine, false, world)).toBe(false);
    world.set('t1', 'a');
    expect(mayServe(mine, false, world)).toBe(true);
    expect(mayServe({ ...mine, nodeId: 'b' }, true, world)).toBe(false);
    world.statuses.set('a', NodeStatus.NODE_STATUS_SUSPECT);
    expect(mayServe(mine, true, world)).toBe(true);
    for (const status of [NodeStatus.NODE_STATUS_LOST, NodeStatus.NODE_STATUS_LEFT]) {
      world.statuses.set('a', status);
      expect(mayServe(mine, true, world)).toBe(false);
    }
  });

  it('withdraws at once when the task is to shut down', () => {
    const world = new World();
    world.set('t1', 'a', DESIRED_STATE_SHUTDOWN);
    expect(mayServe(endpoint('t1', { nodeId: 'a' }), true, world)).toBe(false);
  });

  it('keeps what was decided while the mirror of the scheduler is not synced', () => {
    const world = new World();
    world.tasksSynced = false;
    expect(mayServe(endpoint('t1', { nodeId: 'a' }), true, world)).toBe(true);
    expect(mayServe(endpoint('t1', { nodeId: 'a' }), false, world)).toBe(false);
    world.statuses.set('a', NodeStatus.NODE_STATUS_LOST);
    expect(mayServe(endpoint('t1', { nodeId: 'a' }), true, world)).toBe(false);
  });

  it('gives a container that starts again its name back while the mirror of the scheduler is not synced', () => {
    const world = new World();
    world.set('t1', 'a');
    world.tasksSynced = false;
    expect(mayServe(endpoint('t1', { nodeId: 'a' }), false, world)).toBe(true);
    expect(mayServe(endpoint('t1', { nodeId: 'b' }), false, world)).toBe(false);
    world.set('t1', 'a', DESIRED_STATE_SHUTDOWN);
    expect(mayServe(endpoint('t1', { nodeId: 'a' }), false, world)).toBe(false);
  });
});

describe('an endpoint that claims what its task does not have', () => {
  const mine = (partial: Partial<Endpoint> = {}) =>
    endpoint('t1', { nodeId: 'a', ip: '10.64.0.70', names: ['web', 'www'], ...partial });
  const world = (networks: 'known' | 'unknown' = 'known') => {
    const made = new World();
    const attachments = [
      { network: 'default', aliases: ['www'] },
      { network: 'other', aliases: ['db'] },
    ];
    const task = { id: 't1', nodeId: 'a', desired: DESIRED_STATE_RUNNING, service: 'web', slot: 1, stackId: 's1' };
    made.tasks.set('t1', TaskView.fromPartial({ task: { ...task, networks: { attachments } } }));
    if (networks === 'unknown') return made;
    made.networks.apply({
      kind: 'reset',
      changes: [
        network('n1', 's1', 'default'),
        network('n2', 's1', 'unused'),
        network('n3', 's2', 'default'),
        lease('n1', '10.64.0.64/26', 'a'),
        lease('n1', '10.64.0.128/26', 'b'),
        lease('n2', '10.64.4.0/26', 'a'),
        lease('n3', '10.64.8.0/26', 'a'),
      ],
    });
    made.networksSynced = true;
    return made;
  };
  const network = (id: string, stackId: string, name: string): NetworkChange =>
    NetworkChange.fromPartial({ key: `network/${id}`, resource: { $case: 'network', value: { id, stackId, name } } });
  const lease = (networkId: string, block: string, nodeId: string): NetworkChange =>
    NetworkChange.fromPartial({
      key: `lease/${networkId}/${block}`,
      resource: { $case: 'lease', value: { networkId, block, nodeId } },
    });

  it('is as it should be', () => {
    expect(faultOf(mine(), world())).toBeUndefined();
    expect(mayServe(mine(), false, world())).toBe(true);
  });

  it.each<[string, Partial<Endpoint>]>([
    ['a name of another service', { names: ['web', 'shop'] }],
    ['a name that the service has on another network', { names: ['db'] }],
    ['another task’s own name', { taskName: 'web.2' }],
    ['another service', { service: 'shop' }],
    ['another stack', { stackId: 's2' }],
    ['an address in another node’s block', { ip: '10.64.0.130' }],
    ['an address outside of the network', { ip: '10.99.0.1' }],
    ['a network of its stack that is not its service’s', { networkId: 'n2', ip: '10.64.4.2' }],
    ['another stack’s network', { networkId: 'n3', ip: '10.64.8.2' }],
    ['a network that there is not', { networkId: 'n9' }],
  ])('%s is not served', (_what, claim) => {
    expect(faultOf(mine(claim), world())).toBeDefined();
    expect(mayServe(mine(claim), false, world())).toBe(false);
    expect(mayServe(mine(claim), true, world())).toBe(false);
  });

  it('what cannot be known (yet) keeps nobody from being found', () => {
    // The network-manager was never heard in this process.
    expect(mayServe(mine({ ip: '10.99.0.1' }), false, world('unknown'))).toBe(true);
    expect(mayServe(mine({ names: ['shop'] }), false, world('unknown'))).toBe(false);
    // It is away: what was decided stays, and what it said still counts.
    const away = world();
    away.networksSynced = false;
    expect(mayServe(mine(), false, away)).toBe(true);
    expect(mayServe(mine({ ip: '10.99.0.1' }), true, away)).toBe(true);
    expect(mayServe(mine({ ip: '10.99.0.1' }), false, away)).toBe(false);
    // Its scheduler does not say under which names tasks are found.
    const older = world();
    older.set('t1', 'a');
    expect(mayServe(mine({ names: ['whatever'] }), false, older)).toBe(true);
    expect(mayServe(mine({ ip: '10.99.0.1' }), false, older)).toBe(false);
  });

  it('goes with the lease of its block, and comes with it', () => {
    const changing = world();
    const block = lease('n1', '10.64.0.64/26', 'a');
    const gone = { ...block, resource: undefined };
    expect(changing.networks.apply({ kind: 'changes', changes: [gone] })).toEqual(new Set(['n1']));
    expect(mayServe(mine(), true, changing)).toBe(false);
    changing.networks.apply({ kind: 'changes', changes: [block] });
    expect(mayServe(mine(), false, changing)).toBe(true);
    expect(changing.networks.apply({ kind: 'reset', changes: [] })).toBeUndefined();
    expect(mayServe(mine(), false, changing)).toBe(false);
  });
});

describe('planAnnouncement', () => {
  it('writes what is new, nothing twice, and withdraws what a full set does not name', () => {
    const model = new Model();
    const world = new World();
    for (const id of ['t1', 't2']) world.set(id, 'a');
    expect(model.announce('a', { full: true, endpoints: [endpoint('t1'), endpoint('t2')] }, world)).toHaveLength(2);
    expect(model.announce('a', { full: true, endpoints: [endpoint('t1'), endpoint('t2')] }, world)).toEqual([]);
    expect(model.announce('a', { endpoints: [endpoint('t1', { healthy: false })] }, world)).toHaveLength(1);
    expect(model.shown().size).toBe(2);
    model.announce('a', { full: true, endpoints: [endpoint('t2')] }, world);
    expect([...model.shown().keys()]).toEqual(['endpoint/n1/t2']);
    model.announce(
      'a',
      {
        withdrawn: [
          { networkId: 'n1', taskId: 't2' },
          { networkId: 'n1', taskId: 'unknown' },
        ],
      },
      world,
    );
    expect([...model.entries.keys()]).toEqual([]);
  });

  it('takes the node from the caller and writes names in lower case', () => {
    const model = new Model();
    const world = new World();
    world.set('t1', 'a');
    model.announce('a', { endpoints: [endpoint('t1', { nodeId: 'b' })] }, world);
    expect(model.view.endpoints.get('n1', 't1')?.value.endpoint).toMatchObject({ nodeId: 'a', names: ['web'] });
  });

  it('lets no node touch the endpoints of another', () => {
    const model = new Model();
    const world = new World();
    world.set('t1', 'a');
    model.announce('a', { endpoints: [endpoint('t1')] }, world);
    const denied = expect.objectContaining({ code: 'PermissionDenied', reason: 'NOT_YOUR_ENDPOINT' });
    expect(() => model.announce('b', { endpoints: [endpoint('t1')] }, world)).toThrow(denied);
    expect(() => model.announce('b', { withdrawn: [{ networkId: 'n1', taskId: 't1' }] }, world)).toThrow(denied);
    model.announce('b', { full: true }, world);
    expect(model.shown().size).toBe(1);
  });

  it('lets the node of a task have the endpoint that another one announced first', () => {
    const model = new Model();
    const world = new World();
    world.set('t1', 'a');
    model.announce('b', { endpoints: [endpoint('t1', { ip: '10.64.0.66' })] }, world);
    expect(model.shown().size).toBe(0);
    model.announce('a', { endpoints: [endpoint('t1')] }, world);
    expect([...model.shown().values()]).toMatchObject([{ nodeId: 'a', ip: '10.64.0.2' }]);
    // As long as it is not known whose task it is, nobody takes anything.
    world.tasksSynced = false;
    expect(() => model.announce('b', { endpoints: [endpoint('t1')] }, world)).toThrow(/another node/u);
  });

  // Ids and names become keys, scopes and subjects, which every reader of the cluster gets.
  it.each<[string, Partial<Endpoint>]>([
    ['no address', { ip: '' }],
    ['an address that is none', { ip: '10.64.0.256' }],
    ['an IPv6 address', { ip: 'fd00::1' }],
    ['no network', { networkId: '' }],
    ['no task', { taskId: '' }],
    ['a network that splits a subject', { networkId: 'n1..x' }],
    ['a network that names another scope', { networkId: 'n1.x' }],
    ['a network without end', { networkId: 'n'.repeat(65) }],
    ['a task that splits a key', { taskId: 't/1' }],
    ['a name that is none', { names: ['a b'] }],
    ['a name without end', { names: ['n'.repeat(254)] }],
    ['names without end', { names: Array.from({ length: 65 }, (_, i) => `n${i}`) }],
    ['a name of its own that is none', { taskName: 'web 1' }],
  ])('refuses an endpoint with %s', (_what, partial) => {
    const wrong = endpoint('t1', partial);
    expect(() => new Model().announce('a', { endpoints: [wrong] }, new World())).toThrow(
      expect.objectContaining({ code: 'InvalidArgument' }),
    );
  });

  it('writes 120 endpoints of 3 networks in one txn, and a large network in as few as can be', () => {
    const model = new Model();
    const world = new World();
    const many = (count: number, networks: number) =>
      Array.from({ length: count }, (_, i) => {
        world.set(`t${i}`, 'a');
        return endpoint(`t${i}`, { networkId: `n${i % networks}`, ip: `10.64.${i >> 8}.${i & 255}` });
      });
    model.announce('a', { full: true, endpoints: many(120, 3) }, world);
    expect(model.txns).toHaveLength(1);
    model.txns.length = 0;
    model.announce('a', { full: true, endpoints: many(600, 1) }, world);
    expect(model.txns.length).toBeLessThanOrEqual(7);
  });
});

describe('reconcileEndpoints', () => {
  it('settles in one step, whatever happened, and shows exactly what may be shown', () => {
    const id = fc.constantFrom('t1', 't2', 't3');
    const node = fc.constantFrom('a', 'b');
    const step = fc.oneof(
      fc.record({ kind: fc.constant('announce' as const), id, node, full: fc.boolean(), healthy: fc.boolean() }),
      fc.record({
        kind: fc.constant('task' as const),
        id,
        node,
        desired: fc.constantFrom(DESIRED_STATE_RUNNING, DESIRED_STATE_SHUTDOWN),
      }),
      fc.record({ kind: fc.constant('gone' as const), id }),
      fc.record({
        kind: fc.constant('status' as const),
        node,
        status: fc.constantFrom(
          NodeStatus.NODE_STATUS_READY,
          NodeStatus.NODE_STATUS_SUSPECT,
          NodeStatus.NODE_STATUS_LOST,
        ),
      }),
      fc.record({ kind: fc.constant('synced' as const), synced: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const model = new Model();
        const world = new World();
        for (const each of steps) {
          if (each.kind === 'announce') {
            const held = model.view.endpoints.get('n1', each.id)?.value.endpoint?.nodeId;
            if (held !== undefined && held !== each.node) continue;
            model.announce(
              each.node,
              { full: each.full, endpoints: [endpoint(each.id, { healthy: each.healthy })] },
              world,
            );
          } else if (each.kind === 'task') world.set(each.id, each.node, each.desired);
          else if (each.kind === 'gone') world.tasks.delete(each.id);
          else if (each.kind === 'status') world.statuses.set(each.node, each.status);
          else world.tasksSynced = each.synced;
          const before = model.shown();
          model.commit(reconcileEndpoints(model.view.endpoints.values(), world));
          expect(reconcileEndpoints(model.view.endpoints.values(), world)).toEqual([]);
          for (const { value } of model.view.endpoints.values()) {
            const shown = model.shown().has(`endpoint/n1/${value.endpoint!.taskId}`);
            const lost = world.nodeStatus(value.endpoint!.nodeId) === NodeStatus.NODE_STATUS_LOST;
            if (world.tasksSynced) expect(shown).toBe(mayServe(value.endpoint!, false, world));
            else if (!lost && each.kind !== 'announce') {
              const was = before.has(`endpoint/n1/${value.endpoint!.taskId}`);
              expect(shown).toBe(was || mayServe(value.endpoint!, false, world));
            }
          }
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe('forgottenEndpoints', () => {
  const record = (): { value: EndpointRecord; modRevision: number } => ({
    value: { endpoint: endpoint('t1', { nodeId: 'a' }), serving: false },
    modRevision: 1,
  });

  it('forgets a task unknown for a minute, counting anew after the mirror was away', () => {
    const world = new World();
    const since = new Map<string, number>();
    const at = (nowMs: number) => forgottenEndpoints([record()], world, since, nowMs).length;
    expect(at(0)).toBe(0);
    expect(at(59_999)).toBe(0);
    world.tasksSynced = false;
    expect(at(60_000)).toBe(0);
    world.tasksSynced = true;
    expect(at(61_000)).toBe(0);
    expect(at(121_000)).toBe(1);
    world.set('t1', 'a');
    expect(at(200_000)).toBe(0);
    world.tasks.clear();
    expect(at(200_001)).toBe(0);
  });
});
