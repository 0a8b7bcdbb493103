import type { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import type { Task } from '@berth/contracts/workload';
import { DesiredState, RestartCondition, TaskState } from '@berth/contracts/workload';
import { isBerthError } from '@berth/kernel';
import { isEnded } from '@berth/workload';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../testing/builders.ts';
import { World } from '../testing/world.ts';
import { portsConflict } from './placement/ports.ts';
import { holdsResources } from './state/records.ts';

const nodeIds = ['n1', 'n2', 'n3'] as const;
const mebibyte = 1024 ** 2;

/** What a user may ask for: a few services that compete for cpu, memory and ports. */
const wish = fc.record({
  replicas: fc.nat(5),
  image: fc.constantFrom('a', 'b', 'c'),
  cpu: fc.constantFrom(0, 500, 1500, 3000),
  memory: fc.constantFrom(0, 512, 3000),
  port: fc.constantFrom(0, 0, 8080),
  global: fc.boolean(),
  volume: fc.boolean(),
  ssd: fc.boolean(),
  restart: fc.constantFrom(RestartCondition.RESTART_CONDITION_ANY, RestartCondition.RESTART_CONDITION_ON_FAILURE),
});
type Wish = typeof wish extends fc.Arbitrary<infer T> ? T : never;

const specOf = (wishes: readonly Wish[]) =>
  stackSpec(
    'shop',
    wishes.map((each, index) =>
      serviceSpec(`s${index}`, {
        mode: each.global ? { $case: 'global', value: {} } : replicas(each.replicas),
        container: {
          image: each.image,
          mounts: each.volume ? [{ type: 1, source: `data${index}`, target: '/data' }] : [],
        },
        constraints: each.ssd ? ['node.labels.disk == ssd'] : [],
        reservations: { cpuMillis: each.cpu, memoryBytes: each.memory * mebibyte },
        ports: each.port === 0 ? [] : [{ target: 80, published: each.port, protocol: 1, hostIp: '' }],
        restart: { condition: each.restart, delayMs: 1000, maxAttempts: 4, windowMs: 0 },
      }),
    ),
    { volumes: wishes.map((_, index) => ({ name: `data${index}` })) },
  );

const event = fc.oneof(
  fc.record({ kind: fc.constant('apply' as const), wishes: fc.array(wish, { minLength: 1, maxLength: 3 }) }),
  fc.record({ kind: fc.constant('progress' as const), pick: fc.nat(), outcome: fc.nat(5) }),
  fc.record({ kind: fc.constant('agents' as const) }),
  fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(500, 11_000, 70_000) }),
  fc.record({ kind: fc.constant('node' as const), pick: fc.nat(2), status: fc.constantFrom(1, 2, 3, 4) }),
  fc.record({ kind: fc.constant('availability' as const), pick: fc.nat(2), availability: fc.constantFrom(1, 2, 3) }),
  fc.record({ kind: fc.constant('label' as const), pick: fc.nat(2), disk: fc.constantFrom('ssd', 'hdd') }),
  fc.record({ kind: fc.constant('fail-over' as const), after: fc.nat(6) }),
  fc.record({ kind: fc.constant('decide' as const) }),
  fc.record({ kind: fc.constant('remove' as const), volumes: fc.boolean() }),
);
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

class Play {
  readonly world = new World(nodeIds.map((id) => nodeFacts(id)));
  readonly #status = new Map<string, number>();
  readonly #disk = new Map<string, string>();

  do(step: Event): void {
    const { world } = this;
    switch (step.kind) {
      case 'apply':
        whereThereIsOne('STACK_REMOVING', () => world.apply(specOf(step.wishes)));
        break;
      case 'remove':
        whereThereIsOne('NO_SUCH_STACK', () => world.remove('shop', step.volumes));
        break;
      case 'progress':
        this.#progress(step.pick, step.outcome);
        break;
      case 'agents':
        world.agents((id) => this.#ready(id));
        break;
      case 'time':
        world.nowMs += step.ms;
        break;
      case 'node':
        this.#status.set(nodeIds[step.pick] ?? 'n1', step.status);
        this.#setNodes();
        break;
      case 'availability':
        world.setAvailability(nodeIds[step.pick] ?? 'n1', step.availability as Availability);
        break;
      case 'label':
        this.#disk.set(nodeIds[step.pick] ?? 'n1', step.disk);
        this.#setNodes();
        break;
      case 'fail-over':
        world.converge(step.after);
        world.failOver();
        break;
      default:
        world.converge();
    }
    check(world);
  }

  /** Everything is well again. */
  heal(): void {
    this.#status.clear();
    this.#disk.clear();
    for (const id of nodeIds) this.world.setAvailability(id, Availability.AVAILABILITY_ACTIVE);
    this.#setNodes();
  }

  #ready(id: string): boolean {
    return (this.#status.get(id) ?? 1) === 1;
  }

  #setNodes(): void {
    this.world.setNodes(
      nodeIds.map((id) =>
        nodeFacts(id, {
          status: (this.#status.get(id) ?? 1) as NodeStatus,
          labels: { disk: this.#disk.get(id) ?? 'ssd' },
        }),
      ),
    );
  }

  #progress(pick: number, outcome: number): void {
    const { world } = this;
    const live = [...world.records.tasks.values()]
      .map(({ value }) => value)
      .filter(
        ({ id, nodeId }) =>
          this.#ready(nodeId) && holdsResources(world.records.tasks.get(id)!.value, world.records.status(id)),
      );
    const task = live[pick % Math.max(1, live.length)];
    if (!task) return;
    const failedRuns = (world.records.status(task.id)?.failedRuns ?? 0) + 1;
    const run = (world.records.status(task.id)?.run ?? 0) + 1;
    if (task.desired !== DesiredState.DESIRED_STATE_RUNNING) return;
    switch (outcome) {
      case 0:
        world.report(task.id, { state: TaskState.TASK_STATE_FAILED, exitCode: 1, failedRuns });
        break;
      case 1:
        world.report(task.id, { state: TaskState.TASK_STATE_REJECTED });
        break;
      case 2:
        world.report(task.id, { state: TaskState.TASK_STATE_COMPLETE });
        break;
      case 3:
        world.report(task.id, { state: TaskState.TASK_STATE_RESTARTING, run, failedRuns, exitCode: 1 });
        break;
      default:
        world.run(task.id);
    }
  }
}

/** What an operator said of a node stays. */
function isOfNode(key: string): boolean {
  return key.startsWith('scheduler/availability/') || key.startsWith('scheduler/head/node%2E');
}

/** A user is told that it is too early or too late; that is no failure. */
function whereThereIsOne(reason: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!isBerthError(error) || error.reason !== reason) throw error;
  }
}

/** What must hold at every moment, whatever happened. */
function check(world: World): void {
  const tasks = [...world.records.tasks.values()].map(({ value }) => value);
  const slots = new Map<string, Task[]>();
  for (const task of tasks) {
    if (task.desired !== DesiredState.DESIRED_STATE_RUNNING) continue;
    const slot = `${task.serviceId}/${task.slot}/${task.slot === 0 ? task.nodeId : ''}`;
    slots.set(slot, [...(slots.get(slot) ?? []), task]);
  }
  for (const [slot, wanted] of slots) {
    expect(wanted.length, `tasks wanted in ${slot}`).toBeLessThanOrEqual(2);
    // Two only while one takes over from the other, elsewhere.
    const [one, other] = wanted;
    if (!one || !other) continue;
    expect([one.replaces === other.id, other.replaces === one.id]).toContain(true);
    expect(one.nodeId).not.toBe(other.nodeId);
  }
  for (const id of nodeIds) {
    const held = tasks.filter((task) => task.nodeId === id && holdsResources(task, world.records.status(task.id)));
    const sum = (of: (task: Task) => number) => held.reduce((total, task) => total + of(task), 0);
    expect(sum((task) => task.reservations?.cpuMillis ?? 0)).toBeLessThanOrEqual(4000);
    expect(sum((task) => task.reservations?.memoryBytes ?? 0)).toBeLessThanOrEqual(8 * 1024 ** 3);
    const ports = held.flatMap((task) => task.hostPorts);
    ports.forEach((port, index) => {
      expect(ports.slice(0, index).some((other) => portsConflict(port, other))).toBe(false);
    });
    expect(world.records.usage(id).cpuMillis).toBe(sum((task) => task.reservations?.cpuMillis ?? 0));
  }
}

describe('whatever happens', () => {
  it('no node is promised more than it has, no slot has two wanted tasks, and all comes to rest', () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 5, maxLength: 40 }), (events) => {
        const play = new Play();
        const { world } = play;
        for (const step of events) play.do(step);
        play.heal();
        for (let turn = 0; turn < 60; turn += 1) {
          world.settle();
          world.advance(30_000);
          check(world);
        }
        // At rest nothing is decided any more, not by a new leader either.
        world.settle();
        world.failOver();
        const { actions, assignments, stackActions } = world.decide();
        expect([...actions, ...assignments, ...stackActions]).toEqual([]);
        for (const { value } of world.records.services.values()) {
          const { service } = value;
          if (!service || service.mode === 'global') continue;
          const active = world.active(service.name);
          expect(new Set(active.map(({ slot }) => slot)).size).toBe(value.replicas);
          expect(active).toHaveLength(value.replicas);
          const history = world.tasks(service.name).length - active.length;
          expect(history).toBeLessThanOrEqual(value.replicas * world.limits.taskHistoryPerSlotMax);
        }
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it('at rest nothing runs on a drained node, unless what should take over has failed for good', () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 3, maxLength: 30 }), fc.constantFrom(...nodeIds), (events, drained) => {
        const play = new Play();
        const { world } = play;
        for (const step of events) play.do(step);
        play.heal();
        world.setAvailability(drained, Availability.AVAILABILITY_DRAIN);
        for (let turn = 0; turn < 60; turn += 1) {
          world.settle();
          world.advance(30_000);
          check(world);
        }
        const wanted = [...world.records.tasks.values()]
          .map(({ value }) => value)
          .filter(({ desired }) => desired === DesiredState.DESIRED_STATE_RUNNING);
        const stayed = wanted.filter(({ id, nodeId }) => nodeId === drained && !isEnded(world.state(id)));
        for (const task of stayed) {
          const next = wanted.find(({ replaces }) => replaces === task.id);
          expect(next && world.state(next.id), `${task.service}.${task.slot}`).toBe(TaskState.TASK_STATE_FAILED);
        }
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it('a stack that is removed with its volumes leaves nothing, whatever happened before', () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 30 }), (events) => {
        const play = new Play();
        const { world } = play;
        const before = world.keys();
        for (const step of events) play.do(step);
        play.heal();
        world.settle();
        // The second time it takes volumes along that the file no longer named.
        for (let turn = 0; turn < 2; turn += 1) {
          whereThereIsOne('NO_SUCH_STACK', () => world.remove('shop', true));
          world.settle();
        }
        expect(world.keys().filter((key) => !isOfNode(key))).toEqual(before);
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  it('a plan that was cut off anywhere ends where the whole one does', () => {
    fc.assert(
      fc.property(
        fc.array(wish, { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(5), { maxLength: 8 }),
        (wishes, cuts) => {
          const [whole, cut] = [
            new World(nodeIds.map((id) => nodeFacts(id))),
            new World(nodeIds.map((id) => nodeFacts(id))),
          ];
          whole.apply(specOf(wishes));
          whole.settle();
          cut.apply(specOf(wishes));
          for (const after of cuts) {
            cut.converge(after);
            cut.failOver();
          }
          cut.settle();
          const shape = (world: World) =>
            [...world.records.tasks.values()]
              .map(
                ({ value }) =>
                  `${value.service}.${value.slot} ${value.slot === 0 ? value.nodeId : ''} ${value.desired}`,
              )
              .sort();
          expect(shape(cut)).toEqual(shape(whole));
        },
      ),
      { numRuns: 40 },
    );
  }, 60_000);

  it('the same spec again decides nothing, at any later time', () => {
    fc.assert(
      fc.property(fc.array(wish, { minLength: 1, maxLength: 3 }), fc.nat(10_000_000), (wishes, laterMs) => {
        const world = new World(nodeIds.map((id) => nodeFacts(id)));
        world.apply(specOf(wishes));
        world.settle();
        const revision = world.revision;
        world.advance(laterMs);
        expect(world.apply(specOf(wishes))).toBe('unchanged');
        world.advance(laterMs);
        expect(world.revision).toBe(revision);
      }),
      { numRuns: 40 },
    );
  }, 60_000);
});
