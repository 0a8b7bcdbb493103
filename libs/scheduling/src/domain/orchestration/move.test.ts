import { NodeStatus } from '@berth/contracts/registry';
import { Availability, UpdateState } from '@berth/contracts/scheduler';
import type { StackSpec, Task } from '@berth/contracts/workload';
import { DesiredState, Health, RestartCondition, TaskState } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../../testing/builders.ts';
import { World } from '../../testing/world.ts';

const { AVAILABILITY_ACTIVE, AVAILABILITY_DRAIN } = Availability;
const { DESIRED_STATE_RUNNING } = DesiredState;
const { TASK_STATE_COMPLETE, TASK_STATE_FAILED, TASK_STATE_RESTARTING, TASK_STATE_RUNNING } = TaskState;

const world = (count = 3) => new World(Array.from({ length: count }, (_, index) => nodeFacts(`n${index + 1}`)));
const web = (count = 3, more = {}, image = 'a') =>
  stackSpec('shop', [serviceSpec('web', { mode: replicas(count), container: { image }, ...more })], {
    networks: [{ name: 'default' }],
  });
const onNetwork = { networks: [{ network: 'default', aliases: [] }] };
const on = (tasks: readonly Task[], nodeId: string) => tasks.filter((task) => task.nodeId === nodeId);
const up = (spec: StackSpec, count = 3) => {
  const made = world(count);
  made.apply(spec);
  made.settle();
  return made;
};
const drain = (of: World, nodeId = 'n1') => of.setAvailability(nodeId, AVAILABILITY_DRAIN);

describe('drain', () => {
  it('starts the replacement first; the old task stops when that is healthy and callers are told of it', () => {
    const cluster = up(web(3, onNetwork));
    const [old] = on(cluster.active('web'), 'n1');
    const announced = new Set<string>();
    cluster.announced = (taskId) => (announced.has(taskId) ? 1 : 0);
    drain(cluster);
    cluster.converge();
    const [, fresh] = cluster.active('web').filter(({ slot }) => slot === old!.slot);
    expect(fresh).toMatchObject({ replaces: old!.id, slot: old!.slot, specVersion: 1 });
    expect(fresh!.nodeId).not.toBe('n1');
    const wanted = () => cluster.active('web').filter(({ slot }) => slot === old!.slot);
    cluster.report(fresh!.id, { state: TaskState.TASK_STATE_STARTING, health: Health.HEALTH_STARTING });
    cluster.advance(60_000);
    expect(wanted()).toHaveLength(2);
    cluster.report(fresh!.id, { state: TASK_STATE_RUNNING, health: Health.HEALTH_HEALTHY });
    cluster.advance(60_000);
    expect(wanted()).toHaveLength(2);
    announced.add(fresh!.id);
    cluster.converge();
    expect(wanted().map(({ id }) => id)).toEqual([fresh!.id]);
    cluster.settle();
    expect(cluster.active('web').map(({ nodeId }) => nodeId)).not.toContain('n1');
    expect(cluster.state(old!.id)).toBe(TaskState.TASK_STATE_SHUTDOWN);
    // At rest, for a new leader too.
    const { revision } = cluster;
    cluster.failOver();
    cluster.advance(3_600_000);
    expect(cluster.revision).toBe(revision);
  });

  it('goes on under a new leader, wherever the old one died', () => {
    for (let stopAfter = 0; stopAfter < 12; stopAfter += 1) {
      const cluster = up(web());
      const kept = cluster.active('web').filter(({ nodeId }) => nodeId !== 'n1');
      drain(cluster);
      for (let turn = 0; turn < 4; turn += 1) {
        cluster.converge(stopAfter % (turn + 2));
        cluster.failOver();
        cluster.agents();
      }
      cluster.settle();
      expect(on(cluster.active('web'), 'n1')).toEqual([]);
      expect(cluster.active('web')).toHaveLength(3);
      expect(cluster.active('web')).toEqual(expect.arrayContaining(kept));
    }
  });

  it('a task whose host port is taken on all other nodes stops, and stays pending with that reason', () => {
    const ports = [{ target: 80, published: 8080, protocol: 1, hostIp: '' }];
    const cluster = up(web(3, { ports }));
    drain(cluster);
    cluster.settle();
    const pending = cluster.active('web').find(({ nodeId }) => nodeId === '');
    expect(pending?.pending?.summary).toBe(
      'none of 3 nodes can take it: 2 with the host port taken, 1 paused or drained',
    );
    expect(on(cluster.active('web'), 'n1')).toEqual([]);
    cluster.setAvailability('n1', AVAILABILITY_ACTIVE);
    cluster.settle();
    expect(on(cluster.active('web'), 'n1')).toHaveLength(1);
  });

  it('a task with a pinned volume stops, and stays pending with that reason; active again, it comes back to its data', () => {
    const spec = stackSpec(
      'shop',
      [serviceSpec('redis', { container: { image: 'r', mounts: [{ type: 1, source: 'data', target: '/d' }] } })],
      { volumes: [{ name: 'data' }] },
    );
    const cluster = up(spec);
    drain(cluster);
    cluster.settle();
    expect(cluster.active('redis')).toMatchObject([
      { nodeId: '', pending: { summary: expect.stringContaining('volume shop_data lives on node host-n1 (drained)') } },
    ]);
    cluster.setAvailability('n1', AVAILABILITY_ACTIVE);
    cluster.settle();
    expect(cluster.active('redis')).toMatchObject([{ nodeId: 'n1' }]);
  });

  it('waits while a node that would take the task is only suspect; lost, the old task stops', () => {
    const big = { reservations: { cpuMillis: 3000, memoryBytes: 0 } };
    const cluster = up(web(1, big), 2);
    const [old] = cluster.active('web');
    expect(old?.nodeId).toBe('n1');
    const nodes = (status: NodeStatus) => cluster.setNodes([nodeFacts('n1'), nodeFacts('n2', { status })]);
    nodes(NodeStatus.NODE_STATUS_SUSPECT);
    drain(cluster);
    cluster.advance(600_000);
    expect(cluster.active('web')).toMatchObject([{ id: old!.id }, { nodeId: '', pending: { passing: true } }]);
    nodes(NodeStatus.NODE_STATUS_READY);
    cluster.settle();
    expect(cluster.active('web')).toMatchObject([{ nodeId: 'n2' }]);
    cluster.setAvailability('n1', AVAILABILITY_ACTIVE);
    drain(cluster, 'n2');
    cluster.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_LOST }), nodeFacts('n2')]);
    cluster.settle();
    expect(cluster.active('web')).toMatchObject([{ nodeId: '' }]);
  });

  it('taken back, keeps the old tasks; a replacement that has taken over already stays', () => {
    const cluster = up(web());
    const before = cluster.active('web').map(({ id }) => id);
    drain(cluster);
    cluster.converge();
    expect(cluster.active('web')).toHaveLength(4);
    cluster.setAvailability('n1', AVAILABILITY_ACTIVE);
    cluster.settle();
    expect(cluster.active('web').map(({ id }) => id)).toEqual(before);
  });

  it('of a node that leaves then is forgotten', () => {
    const cluster = world();
    const before = cluster.keys();
    drain(cluster);
    cluster.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_LEFT }), nodeFacts('n2')]);
    cluster.settle();
    expect(cluster.keys()).toEqual(before);
  });

  it('a job is never run twice at once: it stops first', () => {
    const restart = {
      condition: RestartCondition.RESTART_CONDITION_ON_FAILURE,
      delayMs: 0,
      maxAttempts: 0,
      windowMs: 0,
    };
    const cluster = up(web(1, { restart }));
    const [old] = cluster.active('web');
    drain(cluster, old!.nodeId);
    cluster.converge();
    expect(cluster.active('web')).toEqual([]);
    cluster.settle();
    expect(cluster.active('web')[0]?.nodeId).not.toBe(old!.nodeId);
    // One that is done is not done again.
    const [moved] = cluster.active('web');
    cluster.report(moved!.id, { state: TASK_STATE_COMPLETE });
    drain(cluster, moved!.nodeId);
    cluster.advance(3_600_000);
    expect(cluster.active('web').map(({ id }) => id)).toEqual([moved!.id]);
  });

  it('a task that does not serve has nothing to wait for', () => {
    const cluster = up(web(1));
    const [old] = cluster.active('web');
    cluster.report(old!.id, { state: TASK_STATE_RESTARTING, failedRuns: 1, exitCode: 1 });
    drain(cluster, old!.nodeId);
    cluster.converge();
    expect(cluster.active('web')).toEqual([]);
  });

  it('a replacement that fails for good leaves the old task running; one that is refused is tried again', () => {
    const restart = { condition: RestartCondition.RESTART_CONDITION_ANY, delayMs: 0, maxAttempts: 1, windowMs: 0 };
    const cluster = up(web(1, { restart }));
    const [old] = cluster.active('web');
    drain(cluster, old!.nodeId);
    cluster.converge();
    const [, first] = cluster.active('web');
    cluster.report(first!.id, { state: TaskState.TASK_STATE_REJECTED, message: 'no such image' });
    cluster.advance(6_000);
    const [, second] = cluster.active('web');
    expect(second).toMatchObject({ replaces: old!.id });
    expect(second!.id).not.toBe(first!.id);
    expect([old!.nodeId, first!.nodeId]).not.toContain(second!.nodeId);
    cluster.report(second!.id, { state: TASK_STATE_FAILED, failedRuns: 1, exitCode: 1 });
    cluster.advance(3_600_000);
    expect(cluster.active('web').map(({ id }) => id)).toEqual([old!.id, second!.id]);
  });

  it('the node of the replacement is lost, or drained too: another replacement, the old task runs on', () => {
    for (const harm of ['lost', 'drained'] as const) {
      const cluster = up(web(1));
      const [old] = cluster.active('web');
      drain(cluster, old!.nodeId);
      cluster.converge();
      const [, first] = cluster.active('web');
      if (harm === 'drained') drain(cluster, first!.nodeId);
      else {
        const status = NodeStatus.NODE_STATUS_LOST;
        cluster.setNodes(['n1', 'n2', 'n3'].map((id) => nodeFacts(id, id === first!.nodeId ? { status } : {})));
      }
      cluster.converge();
      const [still, second] = cluster.active('web');
      expect(still?.id).toBe(old!.id);
      expect(second).toMatchObject({ replaces: old!.id });
      cluster.settle((id) => id !== first!.nodeId);
      expect(cluster.active('web').map(({ id }) => id)).toEqual([second!.id]);
    }
  });

  it('the drained node is lost meanwhile: the replacement takes the slot alone', () => {
    const cluster = up(web(1));
    const [old] = cluster.active('web');
    drain(cluster, old!.nodeId);
    cluster.converge();
    const [, fresh] = cluster.active('web');
    const status = NodeStatus.NODE_STATUS_LOST;
    cluster.setNodes(['n1', 'n2', 'n3'].map((id) => nodeFacts(id, id === old!.nodeId ? { status } : {})));
    cluster.settle((id) => id !== old!.nodeId);
    expect(cluster.active('web').map(({ id }) => id)).toEqual([fresh!.id]);
    expect(cluster.state(old!.id)).toBe(TaskState.TASK_STATE_ORPHANED);
  });

  it('together with a change of the spec ends at the new version, off the node', () => {
    const cluster = up(web());
    drain(cluster);
    cluster.converge();
    cluster.apply(web(3, {}, 'b'));
    cluster.settle();
    expect(cluster.active('web').map(({ image }) => image)).toEqual(['b', 'b', 'b']);
    expect(on(cluster.active('web'), 'n1')).toEqual([]);
  });
});

describe('constraints', () => {
  it('a task whose node no longer meets them moves, start-first; where none does, it stops and waits', () => {
    const spec = web(1, { constraints: ['node.labels.disk == ssd'] });
    const cluster = world(2);
    const label = (...disks: string[]) =>
      cluster.setNodes(disks.map((disk, index) => nodeFacts(`n${index + 1}`, { labels: { disk } })));
    label('ssd', 'hdd');
    cluster.apply(spec);
    cluster.settle();
    const [old] = cluster.active('web');
    expect(old?.nodeId).toBe('n1');
    label('hdd', 'ssd');
    cluster.converge();
    expect(cluster.active('web')).toMatchObject([{ id: old!.id }, { nodeId: 'n2', replaces: old!.id }]);
    cluster.settle();
    expect(cluster.active('web')).toMatchObject([{ nodeId: 'n2' }]);
    label('hdd', 'hdd');
    cluster.settle();
    expect(cluster.active('web')).toMatchObject([
      { nodeId: '', pending: { summary: 'none of 2 nodes can take it: 2 excluded by constraints' } },
    ]);
  });
});

describe('a halted update', () => {
  /** Slot 1 runs a broken version, 2 and 3 the one before. */
  const halted = () => {
    const cluster = up(web(3, {}, 'a'));
    cluster.apply(web(3, {}, 'broken'));
    cluster.converge();
    cluster.agents();
    cluster.converge();
    const broken = cluster.active('web').find(({ image }) => image === 'broken')!;
    cluster.report(broken.id, { state: TASK_STATE_RESTARTING, exitCode: 3, failedRuns: 1 });
    cluster.converge();
    const service = () => [...cluster.records.services.values()][0]!.value.service!;
    expect(service().update).toBe(UpdateState.UPDATE_STATE_HALTED);
    return { cluster, broken, service };
  };
  const images = (cluster: World) => cluster.active('web').map(({ image }) => image);

  it('goes no further when a node is drained or lost: what moves keeps its version', () => {
    for (const harm of ['drained', 'lost'] as const) {
      const { cluster } = halted();
      const nodeId = cluster.active('web')[1]!.nodeId;
      if (harm === 'drained') drain(cluster, nodeId);
      else {
        const status = NodeStatus.NODE_STATUS_LOST;
        cluster.setNodes(['n1', 'n2', 'n3'].map((id) => nodeFacts(id, id === nodeId ? { status } : {})));
      }
      cluster.settle((id) => id !== nodeId || harm === 'drained');
      expect(images(cluster)).toEqual(['broken', 'a', 'a']);
      expect(on(cluster.active('web'), nodeId)).toEqual([]);
    }
  });

  it('ended by the spec before it replaces only what is not as that says', () => {
    const { cluster, broken, service } = halted();
    const kept = cluster.active('web').filter(({ image }) => image === 'a');
    cluster.apply(web(3, {}, 'a'));
    cluster.settle();
    expect(images(cluster)).toEqual(['a', 'a', 'a']);
    const after = cluster.active('web');
    expect(after.map(({ id }) => id)).toEqual(expect.arrayContaining(kept.map(({ id }) => id)));
    expect(after.map(({ id }) => id)).not.toContain(broken.id);
    expect(after.map(({ specVersion }) => specVersion)).toEqual([3, 3, 3]);
    expect(service()).toMatchObject({ update: UpdateState.UPDATE_STATE_UNSPECIFIED, message: '' });
  });
});

describe('scaling down', () => {
  const after = (cluster: World, count: number) => {
    cluster.apply(web(count));
    cluster.settle();
    return cluster.active('web');
  };

  it('takes from the fullest nodes first, then the highest slots', () => {
    const cluster = new World([nodeFacts('n1')]);
    cluster.apply(web(3));
    cluster.settle();
    cluster.setNodes([nodeFacts('n1'), nodeFacts('n2'), nodeFacts('n3')]);
    cluster.apply(web(5));
    cluster.settle();
    expect(cluster.active('web').map(({ nodeId }) => nodeId)).toEqual(['n1', 'n1', 'n1', 'n2', 'n3']);
    expect(after(cluster, 3).map(({ slot }) => slot)).toEqual([1, 4, 5]);
    // The free numbers are given again.
    expect(after(cluster, 4).map(({ slot }) => slot)).toEqual([1, 2, 4, 5]);
  });

  it('takes from a drained node before any other, and what does not serve before all', () => {
    const ports = [{ target: 80, published: 8080, protocol: 1, hostIp: '' }];
    const cluster = up(web(3, { ports }));
    const first = cluster.active('web')[0]!;
    drain(cluster, first.nodeId);
    cluster.converge();
    // Told to stop for its host port, it is the one that goes.
    cluster.apply(web(2, { ports }));
    cluster.settle();
    expect(cluster.active('web').map(({ slot }) => slot)).toEqual([2, 3]);
  });

  it('in the middle of a drain both tasks of a slot go', () => {
    const cluster = up(web());
    drain(cluster);
    cluster.converge();
    expect(cluster.active('web')).toHaveLength(4);
    cluster.apply(web(0));
    cluster.settle();
    expect(cluster.tasks('web')).toEqual([]);
    expect(cluster.tasks('web').filter(({ desired }) => desired === DESIRED_STATE_RUNNING)).toEqual([]);
  });
});

it('with all other nodes suspect, as the brake on mass loss keeps them, nothing moves, not even off a drained node', () => {
  const cluster = up(
    stackSpec('shop', [
      serviceSpec('web', { mode: replicas(6) }),
      serviceSpec('each', { mode: { $case: 'global', value: {} } }),
    ]),
  );
  const before = cluster.active('web');
  const status = NodeStatus.NODE_STATUS_SUSPECT;
  cluster.setNodes([nodeFacts('n1'), nodeFacts('n2', { status }), nodeFacts('n3', { status })]);
  cluster.settle((id) => id === 'n1');
  cluster.advance(3_600_000);
  expect([...cluster.active('web'), ...cluster.active('each')]).toHaveLength(9);
  expect(cluster.active('web')).toEqual(before);
  drain(cluster);
  cluster.settle((id) => id === 'n1');
  cluster.advance(3_600_000);
  expect(on(cluster.active('web'), 'n1')).toEqual(on(before, 'n1'));
  cluster.setNodes(['n1', 'n2', 'n3'].map((id) => nodeFacts(id)));
  cluster.settle();
  expect(on(cluster.active('web'), 'n1')).toEqual([]);
});

describe('a lost node', () => {
  const lose = (cluster: World, lost: readonly string[]) =>
    cluster.setNodes(
      ['n1', 'n2', 'n3'].map((id) => nodeFacts(id, lost.includes(id) ? { status: NodeStatus.NODE_STATUS_LOST } : {})),
    );

  it('comes back: its orphans end before their ports are given again', () => {
    const ports = [{ target: 80, published: 8080, protocol: 1, hostIp: '' }];
    const cluster = up(web(3, { ports }));
    lose(cluster, ['n1']);
    cluster.settle((id) => id !== 'n1');
    const [orphan] = on(cluster.tasks('web'), 'n1');
    expect(orphan).toMatchObject({ desired: DesiredState.DESIRED_STATE_SHUTDOWN });
    expect(cluster.active('web').filter(({ nodeId }) => nodeId === '')).toHaveLength(1);
    lose(cluster, []);
    cluster.converge();
    expect(cluster.active('web').find(({ nodeId }) => nodeId === '')?.pending?.summary).toContain('host port taken');
    cluster.settle();
    expect(
      cluster
        .active('web')
        .map(({ nodeId }) => nodeId)
        .sort(),
    ).toEqual(['n1', 'n2', 'n3']);
  });

  it('has the tasks of a global service orphaned; back, a new one starts when the old one has ended', () => {
    const cluster = up(stackSpec('shop', [serviceSpec('each', { mode: { $case: 'global', value: {} } })]));
    lose(cluster, ['n1']);
    cluster.settle((id) => id !== 'n1');
    const [orphan] = on(cluster.tasks('each'), 'n1');
    expect(cluster.state(orphan!.id)).toBe(TaskState.TASK_STATE_ORPHANED);
    expect(orphan).toMatchObject({ desired: DesiredState.DESIRED_STATE_REMOVE });
    lose(cluster, []);
    cluster.converge();
    expect(on(cluster.active('each'), 'n1')).toEqual([]);
    cluster.settle();
    expect(on(cluster.tasks('each'), 'n1')).toMatchObject([{ desired: DESIRED_STATE_RUNNING }]);
  });
});
