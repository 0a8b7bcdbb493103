import { NodeStatus } from '@berth/contracts/registry';
import { Availability } from '@berth/contracts/scheduler';
import type { StackSpec, Task } from '@berth/contracts/workload';
import { DependencyCondition, DesiredState } from '@berth/contracts/workload';
import type { MirrorStep, Store } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { MemoryLogger, MemoryRpc, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { holdsResources } from '../domain/state/records.ts';
import { SchedulerView } from '../domain/view/scheduler-view.ts';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../testing/builders.ts';
import { FakeAgent, TestCluster } from '../testing/cluster.ts';

const nodeIds = ['n1', 'n2', 'n3'] as const;
const shop = (image: string, count: number, more: Partial<StackSpec> = {}): StackSpec =>
  stackSpec(
    'shop',
    [
      serviceSpec('redis', { container: { image: 'r', mounts: [{ type: 1, source: 'data', target: '/d' }] } }),
      serviceSpec('web', {
        mode: replicas(count),
        container: { image },
        networks: [{ network: 'default', aliases: [] }],
        dependsOn: [{ service: 'redis', condition: DependencyCondition.DEPENDENCY_CONDITION_HEALTHY }],
      }),
      serviceSpec('each', { mode: { $case: 'global', value: {} } }),
    ],
    { networks: [{ name: 'default' }], volumes: [{ name: 'data' }], ...more },
  );

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

class Play {
  readonly cluster: TestCluster;
  readonly store: KillableStore;
  readonly watch: Watch;
  readonly #abort = new AbortController();
  readonly #agents = new Map<string, AbortController>();

  constructor() {
    const clock = new VirtualClock();
    const rng = new SeededRng(1);
    const log = new MemoryLogger();
    const memory = new MemoryStore({ clock });
    this.cluster = new TestCluster({ clock, rng, log, store: memory, rpc: new MemoryRpc({ clock, rng, logger: log }) });
    this.watch = new Watch(memory, this.#abort.signal);
    for (const id of nodeIds) this.setNode(id);
    for (const id of nodeIds) this.startAgent(id);
    this.store = new KillableStore(memory);
    ends.push(async () => {
      this.#abort.abort();
      await this.cluster.stop();
    });
  }

  /** The first replica leads; it is the one that is killed. */
  async start(): Promise<void> {
    const doomed = this.cluster.start('s1', this.store);
    this.store.onKill = () => void this.cluster.kill(doomed);
    await this.cluster.clock.advance(300);
    this.cluster.start('s2');
    await this.cluster.clock.advance(300);
  }

  setNode(id: string, status: NodeStatus = NodeStatus.NODE_STATUS_READY): void {
    this.cluster.setNode(nodeFacts(id, { status }));
  }

  startAgent(id: string): void {
    const abort = new AbortController();
    this.#agents.set(id, abort);
    void new FakeAgent(this.cluster, id, ['s2', 's1']).run(AbortSignal.any([abort.signal, this.#abort.signal]));
  }

  powerOff(id: string): void {
    this.#agents.get(id)?.abort();
    this.setNode(id, NodeStatus.NODE_STATUS_LOST);
  }

  /** A client asks until it has an answer: whoever it spoke to may be dead. */
  async apply(spec: StackSpec): Promise<void> {
    await this.cluster.finish(this.cluster.control('s2').applyStack({ spec }));
  }

  async set(node: string, availability: Availability): Promise<void> {
    await this.cluster.finish(this.cluster.control('s2').setAvailability({ node, availability }));
  }

  /** What is to run, without ids. */
  shape(): string[] {
    return this.watch
      .tasks()
      .filter(({ desired }) => desired === DesiredState.DESIRED_STATE_RUNNING)
      .map((task) => `${task.service}.${task.slot || task.nodeId} ${task.image} ${this.watch.states.get(task.id)}`)
      .sort();
  }
}

/** Follows the store beside the scheduler and asserts, after every single txn, what must hold at every moment. */
class Watch {
  readonly #view = new SchedulerView();
  readonly #homes = new Map<string, string>();
  readonly problems: string[] = [];
  /** From when on so many tasks of web must serve without a break. */
  servingMin = 0;

  constructor(store: Store, signal: AbortSignal) {
    void this.#follow(store, signal);
  }

  tasks(): Task[] {
    return [...this.#view.records.tasks.values()].map(({ value }) => value);
  }

  get states(): ReadonlyMap<string, number> {
    return new Map(this.tasks().map((task) => [task.id, this.#view.records.stateOf(task)]));
  }

  async #follow(store: Store, signal: AbortSignal): Promise<void> {
    for await (const step of store.mirror('scheduler/', { signal })) {
      if (step.kind === 'reset') this.#view.reset(step.entries);
      else this.#view.apply(step.changes);
      this.#check();
    }
  }

  #check(): void {
    const { records } = this.#view;
    const slots = new Map<string, Task[]>();
    for (const task of this.tasks()) {
      const home = this.#homes.get(task.id);
      if (home !== undefined && home !== task.nodeId) this.problems.push(`${task.id} moved from ${home}`);
      if (task.nodeId !== '') this.#homes.set(task.id, task.nodeId);
      if (task.desired !== DesiredState.DESIRED_STATE_RUNNING) continue;
      const slot = `${task.serviceId}/${task.slot || task.nodeId}`;
      slots.set(slot, [...(slots.get(slot) ?? []), task]);
    }
    for (const [slot, [one, other, third]] of slots) {
      if (third) this.problems.push(`three tasks wanted in ${slot}`);
      if (!one || !other) continue;
      if (one.replaces !== other.id && other.replaces !== one.id) this.problems.push(`two tasks wanted in ${slot}`);
    }
    for (const id of nodeIds) {
      const held = records
        .tasksOn(id)
        .filter(({ value }) => holdsResources(value, records.status(value.id)))
        .reduce((sum, { value }) => sum + (value.reservations?.cpuMillis ?? 0), 0);
      if (held > 4_000) this.problems.push(`${id} is promised ${held} of 4000`);
    }
    const web = [...records.services.values()].find(({ value }) => value.service?.name === 'web' && !value.removing);
    const serving = web ? records.servingTasks(web.value.service?.id ?? '') : 0;
    if (serving < this.servingMin) this.problems.push(`only ${serving} of web serve`);
  }
}

/** Dies at its nth call from `arm` on, observations counted: a write half of the time after it took effect. */
class KillableStore implements Store {
  readonly #store: Store;
  #left = Number.POSITIVE_INFINITY;
  #afterEffect = false;
  #dead = false;
  onKill: () => void = () => {};
  calls = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  arm(calls: number, afterEffect: boolean): void {
    this.#left = calls;
    this.#afterEffect = afterEffect;
    this.calls = 0;
  }

  async #call<T>(act: () => Promise<T>): Promise<T> {
    if (this.#dead) throw this.#gone();
    this.calls += 1;
    this.#left -= 1;
    if (this.#left > 0) return act();
    this.#dead = true;
    if (this.#afterEffect) await act();
    this.onKill();
    throw this.#gone();
  }

  #gone(): BerthError {
    return new BerthError('Unavailable', 'killed', { reason: 'OUTCOME_UNKNOWN' });
  }

  epoch = () => this.#call(() => this.#store.epoch());
  get = (key: string) => this.#call(() => this.#store.get(key));
  list: Store['list'] = (prefix, options) => this.#call(() => this.#store.list(prefix, options));
  txn: Store['txn'] = (request) => this.#call(() => this.#store.txn(request));
  lease: Store['lease'] = (ttlMs) => this.#call(() => this.#store.lease(ttlMs));
  campaign: Store['campaign'] = (key, candidate, options) => this.#store.campaign(key, candidate, options);

  async *mirror(prefix: string, options: Parameters<Store['mirror']>[1]): AsyncGenerator<MirrorStep> {
    for await (const step of this.#store.mirror(prefix, options)) {
      const alive = await this.#call(async () => true).catch(() => false);
      if (!alive) return;
      yield step;
    }
  }
}

interface Scenario {
  readonly name: string;
  /** Before the leader may die. */
  readonly before?: (play: Play) => Promise<void>;
  readonly act: (play: Play) => Promise<void>;
}

const deployed = async (play: Play): Promise<void> => {
  await play.apply(shop('a', 4));
  await play.cluster.clock.advance(3_000);
};

const scenarios: readonly Scenario[] = [
  { name: 'a first deployment', act: (play) => play.apply(shop('a', 4)) },
  {
    name: 'a new version, and more of it',
    before: deployed,
    act: (play) => play.apply(shop('b', 5)),
  },
  {
    name: 'a drain, with no moment with less than all of web',
    before: async (play) => {
      await deployed(play);
      play.watch.servingMin = 4;
    },
    act: (play) => play.set('n2', Availability.AVAILABILITY_DRAIN),
  },
  {
    name: 'the end of a drain that has just begun',
    before: deployed,
    act: async (play) => {
      await play.set('n2', Availability.AVAILABILITY_DRAIN);
      await play.set('n2', Availability.AVAILABILITY_ACTIVE);
    },
  },
  {
    name: 'a lost host that comes back',
    before: deployed,
    act: async (play) => {
      play.powerOff('n2');
      await play.cluster.clock.advance(8_000);
      play.setNode('n2');
      play.startAgent('n2');
    },
  },
  {
    name: 'down and up while a host is off',
    before: async (play) => {
      await deployed(play);
      play.powerOff('n2');
      await play.cluster.clock.advance(1_000);
    },
    act: async (play) => {
      await play.cluster.finish(play.cluster.control('s2').removeStack({ name: 'shop' }));
      await play.cluster.clock.advance(8_000);
      await play.apply(shop('a', 4));
      await play.cluster.clock.advance(2_000);
      play.setNode('n2');
      play.startAgent('n2');
    },
  },
  { name: 'less of it', before: deployed, act: (play) => play.apply(shop('a', 1)) },
];

/** Longer than a leader's death goes unnoticed, and what must be waited for afterwards. */
const settleMs = 40_000;

async function run(scenario: Scenario, killAt: number, afterEffect: boolean) {
  const play = new Play();
  await play.start();
  await scenario.before?.(play);
  play.store.arm(killAt, afterEffect);
  await scenario.act(play);
  await play.cluster.clock.advance(settleMs);
  return { play, shape: play.shape(), calls: play.store.calls };
}

describe('the leader is killed at any call of its store, and another finishes', () => {
  it.each(scenarios)(
    '$name',
    async (scenario) => {
      const undisturbed = await run(scenario, Number.POSITIVE_INFINITY, false);
      expect(undisturbed.play.watch.problems).toEqual([]);
      expect(undisturbed.shape.length).toBeGreaterThan(4);
      for (let killAt = 1; killAt <= undisturbed.calls; killAt += 1) {
        const { play, shape } = await run(scenario, killAt, killAt % 2 === 0);
        const at = `killed at call ${killAt} of ${undisturbed.calls}`;
        expect(play.watch.problems, at).toEqual([]);
        expect(shape, at).toEqual(undisturbed.shape);
        for (const end of ends.splice(0)) await end();
      }
    },
    120_000,
  );
});
