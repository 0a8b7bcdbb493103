import type { TaskStatus } from '@berth/contracts/workload';
import { DesiredState, RestartCondition, TaskState } from '@berth/contracts/workload';
import type { ContainerState } from '@berth/kernel';
import { compareStatus, mayFollow } from '@berth/workload';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignmentFixture } from './assignment-fixture.ts';
import { label, taskOf } from './labels.ts';
import { NodeTasks } from './node-tasks.ts';
import type { TaskRecord } from './task-record.ts';
import type { TaskAction } from './task-step.ts';

const node = { clusterId: 'c', nodeId: 'n', hostname: 'h' };
const desired = {
  running: DesiredState.DESIRED_STATE_RUNNING,
  shutdown: DesiredState.DESIRED_STATE_SHUTDOWN,
  remove: DesiredState.DESIRED_STATE_REMOVE,
} as const;

interface Pending {
  readonly taskId: string;
  readonly action: TaskAction;
}

/** A host with an engine and a scheduler that remembers what it accepted: the world around NodeTasks. */
class World {
  now = 0;
  readonly containers = new Map<string, ContainerState>();
  readonly wanted = new Map<string, keyof typeof desired>();
  readonly accepted = new Map<string, TaskStatus>();
  readonly runs = new Map<string, number>();
  pending: Pending[] = [];
  records: ReadonlyMap<string, TaskRecord> = new Map();
  aborted = new Set<string>();
  #ids = 0;
  tasks = this.boot();

  boot(): NodeTasks {
    const tasks = new NodeTasks({ node, now: this.now, records: this.records });
    tasks.listed(tasks.containers.ticket(), [...this.containers.values()]);
    return tasks;
  }

  /** The agent dies: what it was doing is lost, half done or done; records are as old as the disk's. */
  crash(keepRecords: boolean): void {
    this.records = keepRecords ? new Map(this.tasks.records) : new Map();
    this.pending = [];
    this.aborted.clear();
    this.tasks = this.boot();
    this.syncAll();
    this.decide();
  }

  assignments() {
    return [...this.wanted].map(([id, want]) => {
      const last = this.accepted.get(id);
      return assignmentFixture(id, {
        task: { desired: desired[want] },
        spec: {
          restart: { condition: RestartCondition.RESTART_CONDITION_ANY, delayMs: 100, maxAttempts: 0, windowMs: 0 },
        },
        assignment: { lastStatus: last },
      });
    });
  }

  syncAll(): void {
    this.tasks.sync({ full: true, assignments: this.assignments(), removed: [], first: true });
  }

  decide(): void {
    const { actions, statuses } = this.tasks.decide(this.now);
    for (const status of statuses) this.accept(status);
    for (const { taskId, action } of actions) {
      if (action.kind === 'abort') this.aborted.add(taskId);
      else if (action.kind !== 'forget') {
        expect(this.pending.filter((p) => p.taskId === taskId)).toEqual([]);
        this.pending.push({ taskId, action });
      }
    }
    const again = this.tasks.decide(this.now);
    expect(again.actions).toEqual([]);
    expect(again.statuses).toEqual([]);
  }

  accept(status: TaskStatus): void {
    const last = this.accepted.get(status.taskId);
    if (last) expect(compareStatus(status, last)).toBeGreaterThan(0);
    if (last?.run === status.run)
      expect([last.state, status.state, mayFollow(last.state, status.state)]).toContain(true);
    this.accepted.set(status.taskId, status);
  }

  put(state: ContainerState): void {
    this.containers.set(state.id, state);
    this.tasks.containers.see(this.tasks.containers.ticket(), state.id, state);
  }

  drop(id: string): void {
    this.containers.delete(id);
    this.tasks.containers.see(this.tasks.containers.ticket(), id, undefined);
  }

  /** The engine does, or fails to do, what it was asked first. */
  perform(ok: boolean): void {
    const next = this.pending.shift();
    if (!next) return;
    const { taskId, action } = next;
    if (action.kind === 'launch') this.launch(taskId, action, ok);
    else if (!ok) this.tasks.failed(taskId, this.now);
    else {
      if (action.kind === 'stop') this.exit(action.containerId, 143);
      if (action.kind === 'remove') for (const id of action.containerIds) this.drop(id);
      this.tasks.succeeded(taskId);
    }
    this.decide();
  }

  launch(taskId: string, action: TaskAction & { kind: 'launch' }, ok: boolean): void {
    if (this.aborted.delete(taskId)) {
      this.tasks.launchFailed(taskId, { kind: 'aborted' }, this.now);
      return;
    }
    if (!ok) {
      this.tasks.launchFailed(taskId, { kind: 'retry', message: 'engine away' }, this.now);
      return;
    }
    for (const id of action.replaces) this.drop(id);
    expect(action.run).toBeGreaterThan(this.runs.get(taskId) ?? 0);
    this.runs.set(taskId, action.run);
    const running = [...this.containers.values()].filter(
      (c) => taskOf(c)?.taskId === taskId && c.phase.kind === 'running',
    );
    expect(running).toEqual([]);
    this.#ids += 1;
    this.put({
      id: `c${this.#ids}`,
      name: `berth-${taskId}-${action.run}`,
      labels: { [label.task]: taskId, [label.run]: String(action.run) },
      phase: { kind: 'running', startedAtMs: this.now },
      health: 'none',
      healthOutput: '',
      ports: [],
    });
    this.tasks.succeeded(taskId);
  }

  exit(id: string, exitCode: number): void {
    const state = this.containers.get(id);
    if (state?.phase.kind !== 'running') return;
    const { startedAtMs } = state.phase;
    this.put({ ...state, phase: { kind: 'exited', exitCode, startedAtMs, finishedAtMs: this.now, error: '' } });
  }

  /** Everything succeeds and time passes, until nothing is left to do. */
  settle(): void {
    for (let round = 0; round < 200; round += 1) {
      while (this.pending.length > 0) this.perform(true);
      const { wakeAt } = this.tasks.decide(this.now);
      if (!Number.isFinite(wakeAt)) return;
      this.now = Math.max(this.now, wakeAt);
      this.decide();
    }
    throw new Error('does not settle');
  }
}

const ids = ['a', 'b', 'c'];
const id = fc.constantFrom(...ids);
const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('perform' as const), ok: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('want' as const),
      id,
      want: fc.constantFrom(...(['running', 'shutdown', 'remove'] as const)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('gone' as const), id }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('exit' as const), at: fc.nat(9), code: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sick' as const), at: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rm' as const), at: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(15_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const), keep: fc.boolean() }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

function apply(world: World, c: Command): void {
  const at = (index: number) => [...world.containers.keys()][index % Math.max(1, world.containers.size)];
  switch (c.kind) {
    case 'perform':
      world.perform(c.ok);
      return;
    case 'want': {
      // The scheduler never wants a task to run again that it wanted to stop.
      const before = world.wanted.get(c.id);
      const order = ['running', 'shutdown', 'remove'];
      if (before && order.indexOf(c.want) < order.indexOf(before)) return;
      world.wanted.set(c.id, c.want);
      const assignments = world.assignments().filter((a) => a.task?.id === c.id);
      world.tasks.sync({ full: false, assignments, removed: [], first: false });
      break;
    }
    case 'gone':
      if (world.wanted.get(c.id) !== 'remove') return;
      world.wanted.delete(c.id);
      world.accepted.delete(c.id);
      world.runs.delete(c.id);
      world.tasks.sync({ full: false, assignments: [], removed: [c.id], first: false });
      // An id is never used again.
      for (const container of [...world.containers.values()])
        if (taskOf(container)?.taskId === c.id) world.drop(container.id);
      world.pending = world.pending.filter((p) => p.taskId !== c.id);
      world.tasks.succeeded(c.id);
      break;
    case 'exit':
      world.exit(at(c.at) ?? '', c.code);
      break;
    case 'sick': {
      const state = world.containers.get(at(c.at) ?? '');
      if (state?.phase.kind === 'running') world.put({ ...state, health: 'unhealthy' });
      break;
    }
    case 'rm':
      world.drop(at(c.at) ?? '');
      break;
    case 'wait':
      world.now += c.ms;
      break;
    case 'crash':
      world.crash(c.keep);
      return;
  }
  world.decide();
}

test('whatever happens: one container a task, (run, seq) only grows, and in the end what is wanted is so', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const world = new World();
      world.syncAll();
      world.decide();
      for (const c of commands) apply(world, c);
      world.settle();
      for (const [taskId, want] of world.wanted) {
        const own = [...world.containers.values()].filter((c) => taskOf(c)?.taskId === taskId);
        const status = world.accepted.get(taskId);
        if (want === 'running') {
          expect(own.filter((c) => c.phase.kind === 'running')).toHaveLength(1);
          expect(status?.state).toBe(TaskState.TASK_STATE_RUNNING);
        } else {
          expect(own).toEqual([]);
          expect(status?.state).toBe(TaskState.TASK_STATE_SHUTDOWN);
          expect(status?.removed).toBe(want === 'remove');
        }
      }
    }),
    { numRuns: 500 },
  );
});
