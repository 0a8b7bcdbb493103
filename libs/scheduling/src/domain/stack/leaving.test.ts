import { NodeStatus } from '@berth/contracts/registry';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import { packTxns } from '@berth/kernel';
import { describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../../testing/builders.ts';
import { World } from '../../testing/world.ts';
import { assignmentOf } from '../dispatch/assignment.ts';

const nodes = ['n1', 'n2'];
const lose = (world: World, lost: readonly string[]) =>
  world.setNodes(nodes.map((id) => nodeFacts(id, lost.includes(id) ? { status: NodeStatus.NODE_STATUS_LOST } : {})));
const redis = stackSpec(
  'shop',
  [
    serviceSpec('redis', { container: { image: 'r', mounts: [{ type: 1, source: 'data', target: '/d' }] } }),
    serviceSpec('web', { mode: replicas(3) }),
    serviceSpec('each', { mode: { $case: 'global', value: {} } }),
  ],
  { volumes: [{ name: 'data' }], networks: [{ name: 'default' }] },
);
const stackOf = (world: World) => world.records.stacks.get('default', 'shop')?.value.stack;

/** The stack runs on both nodes, redis on n1, which is then lost; the stack is removed, and all that can go has gone. */
function removedWithNodeLost(volumes: boolean) {
  const world = new World(nodes.map((id) => nodeFacts(id)));
  const empty = world.keys();
  world.apply(redis);
  world.settle();
  const old = stackOf(world)!.id;
  expect(world.active('redis')[0]?.nodeId).toBe('n1');
  lose(world, ['n1']);
  world.remove('shop', volumes);
  world.settle((id) => id !== 'n1');
  return { world, old, empty };
}

describe('down while a host is off', () => {
  it('waits for that host, and says so; when it is back, all goes', () => {
    const { world, empty } = removedWithNodeLost(false);
    expect(stackOf(world)).toMatchObject({ removing: true, waitingForNodes: ['host-n1'] });
    for (const { value } of world.records.tasks.values()) {
      expect(value).toMatchObject({
        nodeId: 'n1',
        state: TaskState.TASK_STATE_ORPHANED,
        desired: DesiredState.DESIRED_STATE_REMOVE,
      });
    }
    lose(world, []);
    world.settle();
    world.remove('shop', true);
    world.settle();
    expect(world.keys()).toEqual(empty);
  });

  it('a stack that waits for a host that is there does not give its name away', () => {
    const world = new World(nodes.map((id) => nodeFacts(id)));
    world.apply(redis);
    world.settle();
    world.remove('shop');
    lose(world, ['n1']);
    world.converge();
    expect(() => world.apply(redis)).toThrow(expect.objectContaining({ reason: 'STACK_REMOVING' }));
    // Suspect is not lost: it is about to be the one or the other.
    world.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_SUSPECT }), nodeFacts('n2')]);
    world.settle((id) => id === 'n2');
    expect(() => world.apply(redis)).toThrow(expect.objectContaining({ reason: 'STACK_REMOVING' }));
  });
});

describe('up again while the host is off', () => {
  it('is a new stack beside the old one; its data is where it was, so redis waits for the host', () => {
    const { world, old } = removedWithNodeLost(false);
    world.apply(redis);
    world.settle((id) => id !== 'n1');
    const now = stackOf(world)!;
    expect(now).toMatchObject({ removing: false, version: 1 });
    expect(now.id).not.toBe(old);
    expect(world.records.stack(old)?.value.stack).toMatchObject({ removing: true, waitingForNodes: ['host-n1'] });
    const active = (service: string) => world.active(service).filter(({ stackId }) => stackId === now.id);
    expect(active('web').map(({ nodeId }) => nodeId)).toEqual(['n2', 'n2', 'n2']);
    expect(active('redis')[0]?.pending?.summary).toContain('volume shop_data lives on node host-n1 (lost)');
    // Nothing changes over time, and the same again is the same.
    const { revision } = world;
    world.failOver();
    world.advance(3_600_000);
    expect(world.apply(redis)).toBe('unchanged');
    expect(world.revision).toBe(revision);
    lose(world, []);
    world.settle();
    expect(world.records.stack(old)).toBeUndefined();
    expect([...world.records.tasks.values()].filter(({ value }) => value.stackId === old)).toEqual([]);
    expect(active('redis')).toMatchObject([{ nodeId: 'n1' }]);
    expect(active('each')).toHaveLength(2);
  });

  it('after down --volumes has volumes of its own; the old ones are deleted on the host when it is back', () => {
    const { world, old, empty } = removedWithNodeLost(true);
    world.apply(redis);
    world.settle((id) => id !== 'n1');
    const now = stackOf(world)!.id;
    expect(world.active('redis')).toMatchObject([{ nodeId: 'n2', stackId: now }]);
    expect(world.records.volumes.get('default', 'shop_data')?.value.nodeId).toBe('n2');
    const left = world.tasks('redis').find(({ stackId }) => stackId === old)!;
    expect(assignmentOf(world.records, left, 0).removeVolumes).toMatchObject([{ name: 'data' }]);
    lose(world, []);
    world.settle();
    expect(world.records.stack(old)).toBeUndefined();
    expect(world.records.volumes.get('default', 'shop_data')?.value.nodeId).toBe('n2');
    world.remove('shop', true);
    world.settle();
    expect(world.keys()).toEqual(empty);
  });

  it('a new volume is not made where the old one of its name has yet to be deleted', () => {
    const { world } = removedWithNodeLost(true);
    lose(world, ['n1', 'n2']);
    world.apply(redis);
    world.converge();
    // Both are back; n1 says nothing yet, n2 takes nothing new.
    world.setNodes([nodeFacts('n1'), nodeFacts('n2', { dispatchSynced: false })]);
    world.settle((id) => id === 'n2');
    const pending = world.active('redis')[0]?.pending;
    expect(pending?.filters).toEqual(
      expect.arrayContaining([
        {
          filter: 'volume',
          nodes: 1,
          detail: 'the old volume of that name is still being deleted on host-n1',
        },
      ]),
    );
    world.settle();
    expect(world.active('redis')[0]?.nodeId).toBe('n1');
  });

  it('two times over, and also when the host is given up', () => {
    const { world, empty } = removedWithNodeLost(false);
    for (let turn = 0; turn < 2; turn += 1) {
      world.apply(redis);
      world.settle((id) => id !== 'n1');
      world.remove('shop', true);
      world.settle((id) => id !== 'n1');
    }
    world.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_LEFT }), nodeFacts('n2')]);
    world.settle();
    expect(world.keys()).toEqual(empty);
  });
});

it('a stack of hundreds of volumes fits into txns, whole and after a crash between any two of them', () => {
  const volumes = Array.from({ length: 300 }, (_, index) => ({ name: `v${String(index).padStart(3, '0')}` }));
  const mounts = volumes.map(({ name }) => ({ type: 1 as const, source: name, target: `/${name}` }));
  const spec = stackSpec('shop', [serviceSpec('db', { container: { image: 'a', mounts } })], { volumes });
  for (const stopAfter of [0, 1, 150, 299, Number.POSITIVE_INFINITY]) {
    const world = new World(nodes.map((id) => nodeFacts(id)));
    const empty = world.keys();
    world.onGroups = (groups) => expect(() => packTxns(groups)).not.toThrow();
    world.apply(spec);
    world.converge(4);
    world.converge(stopAfter);
    world.failOver();
    world.settle();
    expect(world.active('db')).toMatchObject([{ nodeId: 'n1' }]);
    expect(world.records.volumes.size).toBe(300);
    world.remove('shop', true);
    world.converge();
    world.agents();
    world.converge(stopAfter);
    world.failOver();
    world.settle();
    expect(world.keys()).toEqual(empty);
  }
});
