import { NodeStatus } from '@berth/contracts/registry';
import { Availability, UpdateState } from '@berth/contracts/scheduler';
import { DependencyCondition, DesiredState, Health, RestartCondition, TaskState } from '@berth/contracts/workload';
import { volumeName } from '@berth/workload';
import { describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../../testing/builders.ts';
import { World } from '../../testing/world.ts';
import { assignmentOf } from '../dispatch/assignment.ts';

const { TASK_STATE_COMPLETE, TASK_STATE_FAILED, TASK_STATE_REJECTED, TASK_STATE_RESTARTING, TASK_STATE_RUNNING } =
  TaskState;
const two = () => new World([nodeFacts('n1'), nodeFacts('n2')]);
const web = (image: string, count = 3, more = {}) =>
  stackSpec('shop', [serviceSpec('web', { mode: replicas(count), container: { image }, ...more })]);
const images = (world: World) => world.active('web').map(({ image }) => image);
const service = (world: World, name = 'web') =>
  [...world.records.services.values()].find(({ value }) => value.service?.name === name)!.value.service!;

describe('replicated', () => {
  it('fills slots 1 to n, spread over the nodes, and then rests', () => {
    const world = two();
    world.apply(web('a', 4));
    world.settle();
    expect(world.active('web').map(({ slot }) => slot)).toEqual([1, 2, 3, 4]);
    expect(world.active('web').filter(({ nodeId }) => nodeId === 'n1')).toHaveLength(2);
    const revision = world.revision;
    world.advance(3_600_000);
    expect(world.apply(web('a', 4))).toBe('unchanged');
    world.advance(3_600_000);
    expect(world.revision).toBe(revision);
  });

  it('scales down from the highest slot and leaves no record of what went', () => {
    const world = two();
    world.apply(web('a', 4));
    world.settle();
    const kept = world.active('web').slice(0, 2);
    world.apply(web('a', 2));
    world.settle();
    expect(world.tasks('web')).toEqual(kept);
    world.apply(web('a', 3));
    world.settle();
    expect(world.active('web').map(({ slot }) => slot)).toEqual([1, 2, 3]);
    expect(world.active('web').slice(0, 2)).toEqual(kept);
  });

  it('changes replicas, labels and dependencies without touching a task', () => {
    const world = two();
    world.apply(web('a'));
    world.settle();
    const before = world.active('web');
    world.apply(web('a', 3, { labels: { team: 'x' } }));
    world.settle();
    expect(world.active('web')).toEqual(before);
    expect(service(world).specVersion).toBe(1);
    expect(service(world).labels).toEqual({ team: 'x' });
  });
});

describe('update', () => {
  it('of a service waits for the new version of what it awaits, also when the leader dies between the two', () => {
    const spec = (image: string) =>
      stackSpec('shop', [
        serviceSpec('app', {
          container: { image },
          dependsOn: [
            { service: 'migrate', condition: DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY },
          ],
        }),
        serviceSpec('migrate', {
          container: { image },
          restart: { condition: RestartCondition.RESTART_CONDITION_NONE, delayMs: 0, maxAttempts: 0, windowMs: 0 },
        }),
      ]);
    for (let stopAfter = 0; stopAfter < 6; stopAfter += 1) {
      const world = two();
      world.apply(spec('a'));
      world.converge();
      const [first] = world.active('migrate');
      world.report(first!.id, { state: TASK_STATE_COMPLETE, exitCode: 0 });
      world.settle();
      expect(world.active('app')).toMatchObject([{ image: 'a' }]);
      world.apply(spec('b'));
      world.converge(stopAfter);
      world.failOver();
      world.settle();
      // The new migration runs; the app stays as it was until that has completed.
      expect(world.active('app')).toMatchObject([{ image: 'a' }]);
      const [second] = world.active('migrate');
      expect(second).toMatchObject({ image: 'b' });
      world.report(second!.id, { state: TASK_STATE_COMPLETE, exitCode: 0 });
      world.settle();
      expect(world.active('app')).toMatchObject([{ image: 'b' }]);
    }
  });

  it('goes slot by slot, stop-first, the next when the last runs', () => {
    const world = two();
    world.apply(web('a'));
    world.settle();
    world.apply(web('b'));
    world.converge();
    expect(service(world).update).toBe(UpdateState.UPDATE_STATE_UPDATING);
    expect(images(world)).toEqual(['a', 'a']);
    const steps: string[] = [];
    for (let turn = 0; turn < 20; turn += 1) {
      world.agents();
      world.converge();
      const running = world.tasks('web').filter(({ id }) => world.state(id) === TASK_STATE_RUNNING).length;
      expect(running).toBeGreaterThanOrEqual(2);
      steps.push(images(world).join(''));
    }
    expect([...new Set(steps)]).toEqual(['baa', 'ba', 'bba', 'bb', 'bbb']);
    expect(images(world)).toEqual(['b', 'b', 'b']);
    expect(service(world)).toMatchObject({ update: UpdateState.UPDATE_STATE_UNSPECIFIED, specVersion: 2, message: '' });
  });

  it('halts at the first failure, stays halted, and goes on with a new spec', () => {
    const world = two();
    world.apply(web('a'));
    world.settle();
    world.apply(web('broken'));
    world.converge();
    world.agents();
    world.converge();
    const fresh = world.active('web').find(({ image }) => image === 'broken')!;
    world.report(fresh.id, { state: TASK_STATE_RESTARTING, exitCode: 3, failedRuns: 1 });
    world.converge();
    expect(service(world)).toMatchObject({
      update: UpdateState.UPDATE_STATE_HALTED,
      message: 'update halted: web.1 failed with exit code 3; 2 slots stay at the version before',
    });
    world.run(fresh.id);
    world.advance(60_000);
    expect(images(world)).toEqual(['broken', 'a', 'a']);
    expect(service(world).update).toBe(UpdateState.UPDATE_STATE_HALTED);
    world.apply(web('c'));
    world.settle();
    expect(images(world)).toEqual(['c', 'c', 'c']);
    expect(service(world).message).toBe('');
  });

  it('renews what does not run first, so that a good version repairs a bad one', () => {
    const world = two();
    world.apply(web('a'));
    world.settle();
    const third = world.active('web')[2]!;
    world.report(third.id, { state: TASK_STATE_RESTARTING, failedRuns: 1, exitCode: 1 });
    world.apply(web('b'));
    world.converge();
    expect(world.active('web').map(({ slot }) => slot)).toEqual([1, 2]);
    world.settle();
    expect(images(world)).toEqual(['b', 'b', 'b']);
  });

  it('takes a pending task away at once', () => {
    const world = new World([]);
    world.apply(web('a', 2));
    world.settle();
    expect(world.active('web')).toHaveLength(2);
    world.apply(web('b', 2));
    world.settle();
    expect(world.tasks('web').map(({ image }) => image)).toEqual(['b', 'b']);
  });
});

describe('restart policy, by slot', () => {
  const policy = (condition: RestartCondition, maxAttempts = 0) => ({
    restart: { condition, delayMs: 1_000, maxAttempts, windowMs: 0 },
  });
  const fail = (world: World, id: string, failedRuns: number) =>
    world.report(id, { state: TASK_STATE_RESTARTING, exitCode: 1, failedRuns, run: failedRuns + 1 });

  it('five failed runs in five minutes move the slot on to a new task, after a wait', () => {
    const world = two();
    world.apply(web('a', 1));
    world.settle();
    const first = world.active('web')[0]!;
    for (let run = 1; run <= 4; run += 1) {
      world.advance(10_000);
      fail(world, first.id, run);
      world.settle();
    }
    expect(world.active('web')[0]?.id).toBe(first.id);
    world.advance(10_000);
    fail(world, first.id, 5);
    world.converge();
    expect(world.active('web')).toEqual([]);
    world.agents();
    world.converge();
    expect(world.active('web')).toEqual([]);
    world.advance(60_000);
    const second = world.active('web')[0]!;
    expect(second.earlierFailedRuns).toBe(5);
    expect(second.nodeId).not.toBe(first.nodeId);
  });

  it('slow failures stay in place', () => {
    const world = two();
    world.apply(web('a', 1));
    world.settle();
    const first = world.active('web')[0]!;
    for (let run = 1; run <= 20; run += 1) {
      world.advance(90_000);
      fail(world, first.id, run);
      world.settle();
    }
    expect(world.active('web')[0]?.id).toBe(first.id);
  });

  it('max_attempts counts over tasks; used up means failed until the spec changes', () => {
    const world = two();
    world.apply(web('a', 1, policy(RestartCondition.RESTART_CONDITION_ANY, 6)));
    world.settle();
    const first = world.active('web')[0]!;
    for (let run = 1; run <= 5; run += 1) {
      fail(world, first.id, run);
      world.settle();
    }
    world.advance(60_000);
    world.settle();
    const second = world.active('web')[0]!;
    expect(second.earlierFailedRuns).toBe(5);
    world.report(second.id, { state: TASK_STATE_FAILED, exitCode: 1, failedRuns: 1 });
    world.advance(3_600_000);
    expect(world.active('web')[0]?.id).toBe(second.id);
    expect(service(world).message).toBe('web.1 failed with exit code 1');
    world.apply(web('b', 1, policy(RestartCondition.RESTART_CONDITION_ANY, 6)));
    world.settle();
    expect(world.active('web')[0]).toMatchObject({ image: 'b', earlierFailedRuns: 0 });
  });

  it.each([
    ['none', RestartCondition.RESTART_CONDITION_NONE],
    ['on-failure', RestartCondition.RESTART_CONDITION_ON_FAILURE],
  ])('a complete slot under %s is done', (_name, condition) => {
    const world = two();
    world.apply(web('a', 1, policy(condition)));
    world.settle();
    const [task] = world.active('web');
    world.report(task!.id, { state: TASK_STATE_COMPLETE, exitCode: 0 });
    world.advance(3_600_000);
    expect(world.tasks('web')).toHaveLength(1);
    expect(service(world).message).toBe('');
  });

  it('a refused task is tried again with growing waits, and its history stays bounded', () => {
    const world = two();
    world.apply(web('gone', 1));
    const made: number[] = [];
    for (let tick = 0; tick < 600; tick += 1) {
      world.advance(1_000);
      world.agents();
      for (const task of world.active('web')) {
        if (world.state(task.id) !== TASK_STATE_RUNNING) continue;
        made.push(world.nowMs);
        world.report(task.id, { state: TASK_STATE_REJECTED, message: 'no such image' });
      }
      expect(world.tasks('web').length).toBeLessThanOrEqual(9);
    }
    expect(made.length).toBeGreaterThan(5);
    expect(made.length).toBeLessThan(20);
    world.settle();
    expect(world.tasks('web').length).toBeLessThanOrEqual(1 + world.limits.taskHistoryPerSlotMax);
  });
});

describe('nodes', () => {
  it('a task that its agent does not take for 10 s is replaced, elsewhere', () => {
    const world = two();
    world.apply(web('a', 1));
    world.converge();
    const first = world.active('web')[0]!;
    world.advance(9_000);
    expect(world.active('web')[0]?.id).toBe(first.id);
    world.advance(1_100);
    const second = world.active('web')[0]!;
    expect(second.id).not.toBe(first.id);
    expect(second.nodeId).not.toBe(first.nodeId);
    world.settle();
    expect(world.state(first.id)).toBe(TaskState.TASK_STATE_SHUTDOWN);
  });

  it('tasks of a lost node are orphaned and replaced; back again, they stop', () => {
    const world = two();
    world.apply(web('a', 2));
    world.settle();
    world.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_LOST }), nodeFacts('n2')]);
    world.settle((id) => id === 'n2');
    expect(world.active('web').map(({ nodeId }) => nodeId)).toEqual(['n2', 'n2']);
    const orphan = world.tasks('web').find(({ nodeId }) => nodeId === 'n1')!;
    expect(world.state(orphan.id)).toBe(TaskState.TASK_STATE_ORPHANED);
    world.setNodes([nodeFacts('n1'), nodeFacts('n2')]);
    world.settle();
    expect(world.active('web')).toHaveLength(2);
  });

  it('a node that the mirror of the registry does not know yet is not lost', () => {
    const world = two();
    world.apply(web('a', 2));
    world.settle();
    world.setAvailability('n1', Availability.AVAILABILITY_ACTIVE);
    const before = world.active('web');
    world.setNodes([nodeFacts('n2')]);
    world.advance(60_000);
    expect(world.active('web')).toEqual(before);
    expect(world.records.availabilities.get('n1')).toBeDefined();
  });

  it('a suspect node keeps what it was given and has not accepted yet', () => {
    const world = two();
    world.apply(web('a', 2));
    world.converge();
    const given = world.active('web').map(({ id }) => id);
    world.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_SUSPECT }), nodeFacts('n2')]);
    world.agents((id) => id === 'n2');
    world.advance(10 * 60_000);
    expect(world.active('web').map(({ id }) => id)).toEqual(given);
    world.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_LOST }), nodeFacts('n2')]);
    world.settle((id) => id === 'n2');
    expect(world.active('web').map(({ nodeId }) => nodeId)).toEqual(['n2', 'n2']);
  });

  it('a suspect node keeps its tasks and gets nothing new', () => {
    const world = two();
    world.apply(web('a', 2));
    world.settle();
    world.setNodes([nodeFacts('n1', { status: NodeStatus.NODE_STATUS_SUSPECT }), nodeFacts('n2')]);
    world.apply(web('a', 4));
    world.settle();
    expect(world.active('web').filter(({ nodeId }) => nodeId === 'n1')).toHaveLength(1);
  });

  it('a global service has one task on every eligible node, and follows their coming and going', () => {
    const world = two();
    const spec = stackSpec('shop', [
      serviceSpec('agent', { mode: { $case: 'global', value: {} }, constraints: ['node.labels.disk != ssd'] }),
    ]);
    world.apply(spec);
    world.settle();
    expect(
      world
        .active('agent')
        .map(({ nodeId }) => nodeId)
        .sort(),
    ).toEqual(['n1', 'n2']);
    expect(service(world, 'agent').wanted).toBe(2);
    world.setNodes([nodeFacts('n1'), nodeFacts('n2', { labels: { disk: 'ssd' } }), nodeFacts('n3')]);
    world.settle();
    expect(
      world
        .tasks('agent')
        .map(({ nodeId }) => nodeId)
        .sort(),
    ).toEqual(['n1', 'n3']);
    expect(world.apply(spec)).toBe('unchanged');
  });
});

describe('depends_on', () => {
  const chain = (more = {}) =>
    stackSpec('shop', [
      serviceSpec('redis'),
      serviceSpec('migrate', {
        restart: { condition: RestartCondition.RESTART_CONDITION_NONE, delayMs: 100, maxAttempts: 0, windowMs: 0 },
        dependsOn: [{ service: 'redis', condition: DependencyCondition.DEPENDENCY_CONDITION_HEALTHY }],
        ...more,
      }),
      serviceSpec('web', {
        dependsOn: [{ service: 'migrate', condition: DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY }],
      }),
    ]);
  const only = (world: World, name: string) => world.active(name)[0]!;

  it('redis healthy -> migrate completed -> web', () => {
    const world = two();
    world.apply(chain());
    world.converge();
    expect(only(world, 'migrate').pending).toMatchObject({
      summary: 'redis is not healthy yet (0 of 1)',
      filters: [{ filter: 'depends-on', nodes: 2 }],
    });
    world.report(only(world, 'redis').id, { state: TaskState.TASK_STATE_STARTING, health: Health.HEALTH_STARTING });
    world.converge();
    expect(only(world, 'migrate').nodeId).toBe('');
    world.report(only(world, 'redis').id, { state: TASK_STATE_RUNNING, health: Health.HEALTH_HEALTHY });
    world.converge();
    expect(only(world, 'migrate').nodeId).not.toBe('');
    expect(only(world, 'web').pending?.summary).toBe('migrate has not completed yet (0 of 1)');
    world.report(only(world, 'migrate').id, { state: TASK_STATE_COMPLETE, exitCode: 0 });
    world.converge();
    expect(only(world, 'web').nodeId).not.toBe('');
  });

  it('a failing migrate leaves web pending, and says so; a mended one lets it go on', () => {
    const world = two();
    world.apply(chain());
    world.converge();
    world.run(only(world, 'redis').id);
    world.converge();
    world.report(only(world, 'migrate').id, { state: TASK_STATE_FAILED, exitCode: 1, failedRuns: 1 });
    world.advance(600_000);
    expect(only(world, 'web')).toMatchObject({ nodeId: '', pending: { summary: 'migrate failed with exit code 1' } });
    world.apply(chain({ container: { image: 'migrate:2' } }));
    world.converge();
    world.report(only(world, 'migrate').id, { state: TASK_STATE_COMPLETE, exitCode: 0 });
    world.converge();
    expect(only(world, 'web').nodeId).not.toBe('');
  });

  it('holds back only the first tasks of a spec version, and stops nothing for one that may not start yet', () => {
    const world = two();
    world.apply(chain());
    world.converge();
    world.run(only(world, 'redis').id);
    world.converge();
    world.report(only(world, 'migrate').id, { state: TASK_STATE_COMPLETE, exitCode: 0 });
    world.converge();
    const webTask = only(world, 'web');
    world.run(webTask.id);
    // redis goes unhealthy: web's next task at this version does not wait for it.
    world.report(only(world, 'redis').id, { state: TASK_STATE_RESTARTING, failedRuns: 1, exitCode: 1 });
    world.report(webTask.id, { state: TASK_STATE_REJECTED });
    world.advance(10_000);
    expect(only(world, 'web').nodeId).not.toBe('');
    world.run(only(world, 'web').id);
    // Both change: web goes on running while the new migrate has yet to complete.
    const changed = chain({ container: { image: 'migrate:2' } });
    changed.services[2]!.container!.image = 'web:2';
    world.run(only(world, 'redis').id);
    world.apply(changed);
    world.converge();
    expect(only(world, 'web').image).toBe('web:1');
    expect(service(world).message).toBe('update waits: migrate has not completed yet (0 of 1)');
    world.agents();
    world.converge();
    world.report(only(world, 'migrate').id, { state: TASK_STATE_COMPLETE, exitCode: 0 });
    world.settle();
    expect(only(world, 'web').image).toBe('web:2');
  });
});

describe('removal', () => {
  it('a stack goes with its last task and its last network, and leaves no key', () => {
    const world = two();
    const before = world.keys();
    world.apply(
      stackSpec(
        'shop',
        [
          serviceSpec('web', {
            mode: replicas(3),
            container: { image: 'a', mounts: [{ type: 1, source: 'data', target: '/d' }] },
          }),
        ],
        {
          networks: [{ name: 'default' }],
          volumes: [{ name: 'data' }],
        },
      ),
    );
    world.settle();
    const stack = [...world.records.stacks.values()][0]!.value.stack!;
    world.networks.add(stack.id);
    world.remove('shop', true);
    world.converge();
    expect(() => world.apply(web('a'))).toThrow(expect.objectContaining({ reason: 'STACK_REMOVING' }));
    expect([...world.records.stacks.values()][0]?.value.stack?.waitingForNodes).toEqual(['host-n1']);
    world.settle();
    expect(world.keys()).not.toEqual(before);
    world.networks.delete(stack.id);
    world.settle();
    expect(world.keys()).toEqual(before);
    world.apply(web('a'));
    world.settle();
    expect([...world.records.stacks.values()][0]?.value.stack?.id).not.toBe(stack.id);
  });

  it('a service that is no longer declared goes alone', () => {
    const world = two();
    world.apply(stackSpec('shop', [serviceSpec('web'), serviceSpec('worker')]));
    world.settle();
    const kept = world.active('web');
    world.apply(stackSpec('shop', [serviceSpec('web')]));
    world.settle();
    expect(world.tasks('worker')).toEqual([]);
    expect(world.active('web')).toEqual(kept);
    expect([...world.records.services.values()]).toHaveLength(1);
  });

  it('takes volumes along from a node where it has no task any more', () => {
    const world = two();
    const before = world.keys();
    const spec = (count: number) =>
      stackSpec(
        'shop',
        [
          serviceSpec('db', {
            mode: replicas(count),
            container: { image: 'a', mounts: [{ type: 1, source: 'data', target: '/d' }] },
          }),
        ],
        { volumes: [{ name: 'data' }] },
      );
    world.apply(spec(1));
    world.settle();
    const home = world.active('db')[0]!.nodeId;
    world.apply(spec(0));
    world.settle();
    expect(world.tasks('db')).toEqual([]);
    world.remove('shop', true);
    world.converge();
    const [cleanup] = world.tasks('db');
    expect(cleanup).toMatchObject({ nodeId: home, desired: DesiredState.DESIRED_STATE_REMOVE });
    expect(assignmentOf(world.records, cleanup!, 2_000).removeVolumes).toMatchObject([{ name: 'data' }]);
    expect([...world.records.stacks.values()][0]?.value.stack?.waitingForNodes).toEqual([`host-${home}`]);
    // Its node is away: the stack waits for it, and says so; once it is given up, the rest goes.
    world.advance(3_600_000);
    expect(world.tasks('db')).toEqual([cleanup]);
    world.settle();
    expect(world.keys()).toEqual(before);
  });

  it('takes volumes along that an earlier removal has left, and only its own', () => {
    const world = two();
    const before = world.keys();
    const spec = (name: string) =>
      stackSpec(
        name,
        [serviceSpec('db', { container: { image: 'a', mounts: [{ type: 1, source: 'data', target: '/d' }] } })],
        { volumes: [{ name: 'data' }] },
      );
    world.apply(spec('shop'));
    world.apply(spec('shop_a'));
    world.settle();
    world.remove('shop');
    world.settle();
    const other = world.active('db');
    expect(() => world.remove('shop')).toThrow(expect.objectContaining({ reason: 'NO_SUCH_STACK' }));
    expect(() => world.remove('shop')).toThrow('--volumes');
    world.remove('shop', true);
    world.converge();
    const cleanup = world.tasks('volumes');
    expect(cleanup).toMatchObject([{ desired: DesiredState.DESIRED_STATE_REMOVE }]);
    const { removeVolumes } = assignmentOf(world.records, cleanup[0]!, 0);
    expect(removeVolumes.map((volume) => volumeName({ namespace: 'default', stack: 'shop' }, volume))).toEqual([
      'shop_data',
    ]);
    world.settle();
    expect(world.tasks('db')).toEqual(other);
    expect(() => world.remove('shop', true)).toThrow(expect.objectContaining({ reason: 'NO_SUCH_STACK' }));
    world.remove('shop_a', true);
    world.settle();
    expect(world.keys()).toEqual(before);
  });

  it('does not wait for volumes of a node that has left', () => {
    const world = two();
    const before = world.keys();
    world.apply(
      stackSpec(
        'shop',
        [serviceSpec('db', { container: { image: 'a', mounts: [{ type: 1, source: 'data', target: '/d' }] } })],
        { volumes: [{ name: 'data' }] },
      ),
    );
    world.settle();
    world.setNodes(['n1', 'n2'].map((id) => nodeFacts(id, { status: NodeStatus.NODE_STATUS_LEFT })));
    world.remove('shop', true);
    world.settle();
    expect(world.keys()).toEqual(before);
  });

  it('a node that refuses the first task of a named volume does not become its home', () => {
    const world = new World([nodeFacts('n1'), nodeFacts('n2'), nodeFacts('n3')]);
    world.apply(
      stackSpec('shop', [serviceSpec('db', { container: { mounts: [{ type: 1, source: 'data', target: '/d' }] } })], {
        volumes: [{ name: 'data' }],
      }),
    );
    world.converge();
    const [first] = world.active('db');
    world.report(first!.id, { state: TASK_STATE_REJECTED, message: 'no such image' });
    world.advance(60_000);
    const [second] = world.active('db');
    expect(second!.nodeId).not.toBe(first!.nodeId);
    world.run(second!.id);
    // From here on it is at home there.
    world.report(second!.id, { state: TASK_STATE_REJECTED, run: 2, containerId: '' });
    world.advance(10 * 60_000);
    expect(world.active('db').map(({ nodeId }) => nodeId)).toEqual([second!.nodeId]);
  });

  it('keeps the home of a named volume that was not asked to go', () => {
    const world = two();
    const spec = stackSpec(
      'shop',
      [serviceSpec('db', { container: { image: 'a', mounts: [{ type: 1, source: 'data', target: '/d' }] } })],
      { volumes: [{ name: 'data' }] },
    );
    world.apply(spec);
    world.settle();
    const home = world.active('db')[0]!.nodeId;
    world.remove('shop');
    world.settle();
    world.setNodes([nodeFacts('n0'), nodeFacts('n1'), nodeFacts('n2')]);
    world.apply(spec);
    world.settle();
    expect(world.active('db')[0]?.nodeId).toBe(home);
  });
});
