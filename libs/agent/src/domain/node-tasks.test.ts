import type { Assignment } from '@berth/contracts/scheduler';
import type { TaskStatus } from '@berth/contracts/workload';
import {
  DesiredState,
  NetworkMode,
  RestartCondition,
  TaskState,
  TaskStatus as TaskStatuses,
} from '@berth/contracts/workload';
import type { ContainerPhase, ContainerState } from '@berth/kernel';
import { stateName } from '@berth/workload';
import { describe, expect, it } from 'vitest';
import type { FixtureOptions } from './assignment-fixture.ts';
import { assignmentFixture } from './assignment-fixture.ts';
import { label } from './labels.ts';
import { NodeTasks } from './node-tasks.ts';
import { recordFrom } from './task-record.ts';

const node = { clusterId: 'c', nodeId: 'n', hostname: 'h1' };
const shutdown = { desired: DesiredState.DESIRED_STATE_SHUTDOWN };
const remove = { desired: DesiredState.DESIRED_STATE_REMOVE };
const onNetwork: FixtureOptions = {
  container: { networkMode: NetworkMode.NETWORK_MODE_UNSPECIFIED },
  spec: { networks: [{ network: 'default', aliases: ['Shop'] }], expose: [{ port: 80, protocol: 1 }] },
  assignment: { drainDelayMs: 2000 },
};

function container(
  taskId: string,
  run: number,
  phase: ContainerPhase,
  more: Partial<ContainerState> = {},
): ContainerState {
  const joins = JSON.stringify([
    { networkId: 'net1', network: 'default', dockerNetwork: 'berth-net1', ip: '10.64.0.9' },
  ]);
  return {
    id: `${taskId}-${run}`,
    name: `berth-${taskId}-${run}`,
    labels: { [label.task]: taskId, [label.run]: String(run), [label.joins]: joins },
    phase,
    health: 'none',
    healthOutput: '',
    ports: [],
    ...more,
  };
}

const running: ContainerPhase = { kind: 'running', startedAtMs: 1000 };
const exited = (exitCode: number, lastedMs = 500): ContainerPhase => ({
  kind: 'exited',
  exitCode,
  startedAtMs: 1000,
  finishedAtMs: 1000 + lastedMs,
  error: '',
});

/** A node whose engine was listed. */
class Node {
  readonly tasks: NodeTasks;

  constructor(containers: readonly ContainerState[] = [], assignments: readonly Assignment[] = []) {
    this.tasks = new NodeTasks({ node, now: 0, assignments });
    this.tasks.listed(this.tasks.containers.ticket(), containers);
  }

  sync(...assignments: Assignment[]): this {
    this.tasks.sync({ full: true, first: true, assignments, removed: [] });
    return this;
  }

  delta(...assignments: Assignment[]): this {
    this.tasks.sync({ full: false, first: false, assignments, removed: [] });
    return this;
  }

  see(state: ContainerState): this {
    this.tasks.containers.see(this.tasks.containers.ticket(), state.id, state);
    return this;
  }

  gone(id: string): this {
    this.tasks.containers.see(this.tasks.containers.ticket(), id, undefined);
    return this;
  }

  /** Actions, and for each task its new state. */
  at(now: number) {
    const decision = this.tasks.decide(now);
    return {
      ...decision,
      actions: decision.actions.map(({ taskId, action }) => `${action.kind} ${taskId}`),
      states: Object.fromEntries(decision.statuses.map((s) => [s.taskId, `${stateName(s.state)} ${s.run}.${s.seq}`])),
    };
  }

  /** The engine did what was asked: the run's container runs. */
  launched(taskId: string, run = 1, more: Partial<ContainerState> = {}): this {
    this.see(container(taskId, run, running, more));
    this.tasks.succeeded(taskId);
    return this;
  }
}

describe('a run that ended while nobody watched', () => {
  const once = {
    spec: {
      restart: { condition: RestartCondition.RESTART_CONDITION_ON_FAILURE, maxAttempts: 1, delayMs: 0, windowMs: 0 },
    },
  };
  const found = (phase: ContainerPhase, more: Partial<ContainerState> = {}) =>
    new Node([container('a', 1, phase, more)]).sync(assignmentFixture('a', once));

  it('is not held against the policy: the agent finds it so at its start', () => {
    const n = found(exited(137));
    expect(n.at(1)).toMatchObject({ states: { a: 'restarting 2.1' }, statuses: [{ failedRuns: 0 }] });
    expect(n.at(10_000).actions).toEqual(['launch a']);
  });

  it('nor when the engine was away, whether its container is there or not', () => {
    for (const left of [[container('a', 1, exited(255))], []]) {
      const n = found(running);
      n.at(1);
      n.tasks.unwatched();
      n.tasks.listed(n.tasks.containers.ticket(), left);
      expect(n.at(2).statuses).toMatchObject([{ taskId: 'a', run: 2, failedRuns: 0 }]);
      expect(n.at(10_000).actions).toEqual(['launch a']);
      // The next one is seen.
      n.launched('a', 2).at(10_001);
      n.see(container('a', 2, exited(1)));
      expect(n.at(10_002)).toMatchObject({ states: { a: 'failed 2.4' }, statuses: [{ failedRuns: 1 }] });
    }
  });

  it('is, when its end is known to be its own: seen by an event, unhealthy, impossible to start', () => {
    const seen = found(running);
    seen.at(1);
    seen.see(container('a', 1, exited(137)));
    seen.tasks.unwatched();
    expect(seen.at(2).statuses).toMatchObject([{ failedRuns: 1 }]);
    const refused = found({ kind: 'exited', exitCode: 127, startedAtMs: 0, finishedAtMs: 0, error: 'no such program' });
    expect(refused.at(1).statuses).toMatchObject([{ failedRuns: 1 }]);
    const unhealthy = found(running, { health: 'unhealthy' });
    expect(unhealthy.at(1).actions).toEqual(['stop a']);
    unhealthy.tasks.unwatched();
    unhealthy.tasks.listed(unhealthy.tasks.containers.ticket(), [container('a', 1, exited(0))]);
    unhealthy.tasks.succeeded('a');
    expect(unhealthy.at(2).statuses).toMatchObject([{ failedRuns: 1 }]);
  });

  it('is done when it ended well and its policy restarts only failures, as in Docker', () => {
    expect(found(exited(0)).at(1).states).toEqual({ a: 'complete 1.1' });
  });
});

describe('a new task', () => {
  it('is accepted and prepared at once, started, and running when its health check says so', () => {
    const n = new Node().sync(assignmentFixture('a'));
    expect(n.at(1)).toMatchObject({ actions: ['launch a'], states: { a: 'preparing 1.1' } });
    n.tasks.launchPhase('a', 'starting');
    expect(n.at(2).states).toEqual({ a: 'starting 1.2' });
    n.launched('a', 1, { health: 'starting' });
    expect(n.at(3)).toMatchObject({ actions: [], states: {} });
    n.see(container('a', 1, running, { health: 'healthy' }));
    expect(n.at(4).states).toEqual({ a: 'running 1.4' });
    expect(n.at(5)).toMatchObject({ actions: [], statuses: [] });
  });

  it('waits for it also when the scheduler was faster than the engine', () => {
    const tasks = new NodeTasks({ node, now: 0 });
    tasks.sync({ full: true, first: true, assignments: [assignmentFixture('a')], removed: [] });
    tasks.listed(tasks.containers.ticket(), [container('old', 1, running)]);
    expect(tasks.decide(1).actions.map(({ taskId, action }) => `${action.kind} ${taskId}`)).toEqual(['stop old']);
  });

  it('waits for what is not ours any more, and says so; a restart in place does not', () => {
    const n = new Node([container('old', 1, running), container('b', 1, exited(1))]);
    n.sync(assignmentFixture('a'), assignmentFixture('b'));
    const first = n.at(0);
    expect(first.actions).toEqual(['stop old']);
    expect(first.states).toEqual({ a: 'accepted 0.1', b: 'restarting 2.1' });
    expect(n.at(100).actions).toEqual(['launch b']);
    n.see(container('old', 1, exited(143))).tasks.succeeded('old');
    expect(n.at(200).actions).toEqual(['remove old']);
    n.gone('old-1').tasks.succeeded('old');
    expect(n.at(300).actions).toEqual(['launch a', 'release old']);
    n.tasks.succeeded('old');
    expect(n.at(300).actions).toEqual(['forget old']);
  });

  it('that can never run here is rejected; one that can not run yet is tried again', () => {
    const n = new Node().sync(assignmentFixture('a'), assignmentFixture('b'));
    n.at(0);
    n.tasks.launchFailed('a', { kind: 'rejected', message: 'no image' }, 0);
    n.tasks.launchFailed('b', { kind: 'retry', message: 'network: not ready' }, 0);
    const next = n.at(1);
    expect(next.states).toEqual({ a: 'rejected 1.2', b: 'preparing 1.2' });
    expect(next.statuses.map((s) => s.message)).toEqual(['no image', 'network: not ready']);
    expect(next.wakeAt).toBe(250);
    expect(n.at(250).actions).toEqual(['launch b']);
  });

  it('a launch that is under way ends when the task is to stop', () => {
    const n = new Node().sync(assignmentFixture('a'));
    n.at(0);
    n.delta(assignmentFixture('a', { task: shutdown }));
    expect(n.at(1).actions).toEqual(['abort a']);
    expect(n.at(2).actions).toEqual([]);
    n.tasks.launchFailed('a', { kind: 'aborted' }, 2);
    expect(n.at(3)).toMatchObject({ actions: ['release a'], states: { a: 'shutdown 1.3' } });
  });
});

describe('a run that ends', () => {
  const policy = (restart: FixtureOptions['spec']) => ({ spec: restart });
  const restart = (condition: RestartCondition, maxAttempts = 0) =>
    policy({ restart: { condition, delayMs: 100, maxAttempts, windowMs: 0 } });

  it.each([
    ['any', 0, 'restarting 2.1'],
    ['any', 1, 'restarting 2.1'],
    ['on-failure', 0, 'complete 1.3'],
    ['on-failure', 1, 'restarting 2.1'],
    ['none', 0, 'complete 1.3'],
    ['none', 1, 'failed 1.3'],
  ])('condition %s, exit code %d: %s', (name, code, state) => {
    const condition = {
      any: RestartCondition.RESTART_CONDITION_ANY,
      'on-failure': RestartCondition.RESTART_CONDITION_ON_FAILURE,
      none: RestartCondition.RESTART_CONDITION_NONE,
    }[name];
    const n = new Node().sync(assignmentFixture('a', restart(condition!)));
    n.at(0);
    n.launched('a').at(1);
    n.see(container('a', 1, exited(code)));
    const after = n.at(2);
    expect(after.states).toEqual({ a: state });
    expect(after.statuses[0]).toMatchObject({ exitCode: code, failedRuns: code === 0 ? 0 : 1, finishedAtMs: 1500 });
  });

  it('is followed by the next one after a delay that doubles; the last container stays until then', () => {
    const n = new Node().sync(assignmentFixture('a'));
    n.at(0);
    n.launched('a').at(0);
    let now = 0;
    const waits: number[] = [];
    for (let run = 1; run <= 12; run += 1) {
      n.see(container('a', run, exited(1)));
      const { wakeAt } = n.at(now);
      waits.push(wakeAt - now);
      now = wakeAt;
      const [launch] = n.at(now).actions;
      expect(launch).toBe('launch a');
      expect(n.tasks.records.get('a')?.run).toBe(run + 1);
      n.gone(`a-${run}`).launched('a', run + 1);
      n.at(now);
    }
    expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
    n.see(container('a', 13, exited(1, 10_000)));
    expect(n.at(now).wakeAt - now).toBe(100);
  });

  it('is the last one when max_attempts is used up, also by earlier tasks of the slot', () => {
    const options = restart(RestartCondition.RESTART_CONDITION_ANY, 3);
    const n = new Node().sync(assignmentFixture('a', { ...options, task: { earlierFailedRuns: 2 } }));
    n.at(0);
    n.launched('a').at(0);
    n.see(container('a', 1, exited(1)));
    const { statuses } = n.at(1);
    expect(statuses[0]).toMatchObject({ state: TaskState.TASK_STATE_FAILED, failedRuns: 1 });
    expect(statuses[0]?.message).toContain('3 failed runs');
    expect(n.at(1e6).actions).toEqual([]);
  });

  it('an unhealthy one is stopped and counts as failed, whatever its exit code', () => {
    const n = new Node().sync(assignmentFixture('a'));
    n.at(0);
    n.launched('a', 1, { health: 'unhealthy', healthOutput: 'connection refused' });
    expect(n.at(1)).toMatchObject({ actions: ['stop a'], statuses: [{ health: 3 }] });
    n.see(container('a', 1, exited(0), { health: 'unhealthy' })).tasks.succeeded('a');
    const { statuses } = n.at(2);
    expect(statuses[0]).toMatchObject({ run: 2, state: TaskState.TASK_STATE_RESTARTING, failedRuns: 1 });
    expect(statuses[0]?.message).toContain('connection refused');
  });

  it('one whose container somebody removed has failed', () => {
    const n = new Node().sync(assignmentFixture('a'));
    n.at(0);
    n.launched('a').at(1);
    expect(n.gone('a-1').at(2).statuses[0]).toMatchObject({
      run: 2,
      failedRuns: 1,
      message: 'container of run 1 vanished',
    });
  });
});

describe('a task that is to stop', () => {
  it('loses its endpoint at once, gets the signal after the drain, and leaves no container', () => {
    const n = new Node().sync(assignmentFixture('a', onNetwork));
    n.at(0);
    n.launched('a');
    expect(n.at(1).endpoints).toEqual([
      {
        taskId: 'a',
        networkId: 'net1',
        nodeId: 'n',
        stackId: 'stack1',
        service: 'web',
        names: ['web', 'shop'],
        taskName: 'web.1',
        ip: '10.64.0.9',
        ports: [{ port: 80, protocol: 1 }],
        healthy: true,
        run: 1,
      },
    ]);
    n.delta(assignmentFixture('a', { ...onNetwork, task: shutdown }));
    const draining = n.at(10);
    expect(draining).toMatchObject({ endpoints: [], actions: [], wakeAt: 2010 });
    expect(draining.statuses[0]).toMatchObject({ state: TaskState.TASK_STATE_RUNNING, message: 'draining' });
    expect(n.at(2009).actions).toEqual([]);
    expect(n.at(2010).actions).toEqual(['stop a']);
    n.see(container('a', 1, exited(143))).tasks.succeeded('a');
    expect(n.at(2100).actions).toEqual(['remove a']);
    n.gone('a-1').tasks.succeeded('a');
    const after = n.at(2200);
    expect(after).toMatchObject({ actions: ['release a'] });
    expect(after.statuses[0]).toMatchObject({ state: TaskState.TASK_STATE_SHUTDOWN, exitCode: 143, removed: false });
    n.tasks.succeeded('a');
    expect(n.at(2300)).toMatchObject({ actions: [], statuses: [] });
  });

  it('drains nothing if it has no endpoint', () => {
    const options = { assignment: { drainDelayMs: 2000 } };
    const n = new Node().sync(assignmentFixture('a', options));
    n.at(0);
    n.launched('a').at(1);
    expect(n.delta(assignmentFixture('a', { ...options, task: shutdown })).at(2).actions).toEqual(['stop a']);
  });

  it('to be removed: is reported so only when volumes and networks are handed back', () => {
    const volume = { name: 'data', driver: '', driverOpts: {}, labels: {}, externalName: '' };
    const n = new Node([container('a', 1, exited(0))]).sync(
      assignmentFixture('a', { task: remove, assignment: { lastStatus: accepted(1, 7), removeVolumes: [volume] } }),
    );
    expect(n.at(0).actions).toEqual(['remove a']);
    n.gone('a-1').tasks.succeeded('a');
    const release = n.at(1);
    expect(release.actions).toEqual(['release a']);
    expect(release.statuses[0]?.removed).toBe(false);
    expect(n.tasks.decide(1).actions).toEqual([]);
    n.tasks.failed('a', 1);
    expect(n.at(2)).toMatchObject({ actions: [], wakeAt: 251 });
    const [again] = n.tasks.decide(251).actions;
    expect(again?.action).toEqual({ kind: 'release', volumes: ['shop_data'] });
    n.tasks.succeeded('a');
    expect(n.at(252).statuses[0]).toMatchObject({ removed: true, run: 1 });
  });

  it('one that is only there to delete volumes deletes them and is gone', () => {
    const cleanup = assignmentFixture('v', {
      task: remove,
      assignment: { removeVolumes: [{ name: 'x', externalName: 'shop_data', driver: '', driverOpts: {}, labels: {} }] },
    });
    const n = new Node().sync({ ...cleanup, spec: { ...cleanup.spec!, container: undefined } });
    const [first] = n.tasks.decide(0).actions;
    expect(first?.action).toEqual({ kind: 'release', volumes: ['shop_data'] });
    n.tasks.succeeded('v');
    expect(n.tasks.decide(1).statuses).toMatchObject([{ removed: true }]);
  });

  it('one that completed stays complete', () => {
    const job = {
      spec: {
        restart: { condition: RestartCondition.RESTART_CONDITION_NONE, delayMs: 0, maxAttempts: 0, windowMs: 0 },
      },
    };
    const n = new Node([container('a', 1, exited(0))]).sync(assignmentFixture('a', job));
    expect(n.at(0).states).toEqual({ a: 'complete 1.1' });
    n.delta(assignmentFixture('a', { ...job, task: shutdown }));
    expect(n.at(1).actions).toEqual(['remove a']);
    n.gone('a-1').tasks.succeeded('a');
    n.at(2);
    n.tasks.succeeded('a');
    n.at(3);
    expect(n.tasks.status('a')?.state).toBe(TaskState.TASK_STATE_COMPLETE);
  });
});

/** A running task's status as the scheduler accepted it. */
function accepted(run: number, seq: number, more: Partial<TaskStatus> = {}): TaskStatus {
  const state = TaskState.TASK_STATE_RUNNING;
  return TaskStatuses.fromPartial({ taskId: 'a', run, seq, state, containerId: `a-${run}`, ...more });
}

describe('an agent that comes back', () => {
  it('never gives a run its number twice, though disk and container are gone', () => {
    const n = new Node().sync(assignmentFixture('a', { assignment: { lastStatus: accepted(1, 3) } }));
    expect(n.at(0)).toMatchObject({ actions: [], states: { a: 'restarting 2.1' } });
    expect(n.tasks.status('a')).toMatchObject({ failedRuns: 1, message: 'container of run 1 vanished' });
    expect(n.at(1_000).actions).toEqual(['launch a']);
  });

  it('makes a run whose container there never was, though the disk is gone', () => {
    const starting = { state: TaskState.TASK_STATE_STARTING, containerId: '' };
    const n = new Node().sync(assignmentFixture('a', { assignment: { lastStatus: accepted(1, 3, starting) } }));
    expect(n.at(0)).toMatchObject({ actions: ['launch a'], states: {} });
  });

  it('keeps what ended for good ended, though disk and container are gone', () => {
    const complete = { state: TaskState.TASK_STATE_COMPLETE, containerId: '' };
    const n = new Node().sync(assignmentFixture('a', { assignment: { lastStatus: accepted(2, 3, complete) } }));
    expect(n.at(0).actions).toEqual([]);
    expect(n.at(60_000).actions).toEqual([]);
  });

  it('adopts what runs, restarts nothing and counts on from what the scheduler has accepted', () => {
    const n = new Node([container('a', 3, running)]).sync(
      assignmentFixture('a', { assignment: { lastStatus: accepted(3, 9, { failedRuns: 2 }) } }),
    );
    const first = n.at(0);
    expect(first).toMatchObject({ actions: [], states: { a: 'running 3.10' } });
    expect(first.statuses[0]).toMatchObject({ failedRuns: 2 });
    n.see(container('a', 3, exited(2)));
    expect(n.at(1)).toMatchObject({ states: { a: 'restarting 4.1' } });
  });

  it('counts failed runs on from the scheduler when its own record is older', () => {
    const record = recordFrom(undefined, [container('a', 2, exited(1))]);
    const tasks = new NodeTasks({ node, now: 0, records: new Map([['a', record]]) });
    const assignment = { lastStatus: accepted(5, 3, { failedRuns: 4 }) };
    tasks.sync({ full: true, first: true, assignments: [assignmentFixture('a', { assignment })], removed: [] });
    tasks.listed(tasks.containers.ticket(), [container('a', 5, running)]);
    tasks.listed(tasks.containers.ticket(), [container('a', 5, exited(1))]);
    expect(tasks.decide(0).statuses).toMatchObject([{ run: 6, failedRuns: 5 }]);
  });

  it('sees the end of a container that ended while it was away', () => {
    const n = new Node([container('a', 3, exited(2))]).sync(
      assignmentFixture('a', { assignment: { lastStatus: accepted(3, 9) } }),
    );
    expect(n.at(0).states).toEqual({ a: 'restarting 4.1' });
  });

  it('stops nothing before the control plane has spoken, starts nothing for 10 s, then goes on alone', () => {
    const n = new Node([container('stray', 1, running), container('a', 1, exited(1))], [assignmentFixture('a')]);
    expect(n.at(0)).toMatchObject({ actions: [], wakeAt: 100, endpoints: undefined });
    expect(n.at(9_999).actions).toEqual([]);
    expect(n.at(10_000).actions).toEqual(['launch a']);
    n.sync(assignmentFixture('a'));
    expect(n.at(10_001).actions).toEqual(['stop stray']);
  });

  it('gives out again what the scheduler has not got, and only that', () => {
    const n = new Node().sync(assignmentFixture('a'), assignmentFixture('b'));
    n.at(0);
    n.launched('a').launched('b');
    n.at(1);
    n.sync(
      assignmentFixture('a', { assignment: { lastStatus: accepted(1, 2) } }),
      assignmentFixture('b', { assignment: { lastStatus: accepted(1, 1) } }),
    );
    expect(n.at(2).states).toEqual({ b: 'running 1.2' });
    expect(n.at(3).states).toEqual({});
  });
});
