import type { StackSpec } from '@berth/contracts/workload';
import { DependencyCondition, RestartCondition, StackSpec as StackSpecs } from '@berth/contracts/workload';
import type { ContainerPhase, ContainerState } from '@berth/kernel';
import { describe, expect, it } from 'vitest';
import { label } from './labels.ts';
import { NodeTasks } from './node-tasks.ts';
import { isOneShot, staticAssignments } from './static-tasks.ts';

const node = { clusterId: 'c', nodeId: '', hostname: 'h1' };
const owner = { clusterId: 'c', nodeId: '', address: '198.18.0.1', sinceMs: 1 };
const restart = (condition: RestartCondition) => ({ condition, delayMs: 100, maxAttempts: 0, windowMs: 0 });

function manifest(image = 'store:1'): StackSpec {
  return StackSpecs.fromPartial({
    namespace: 'default',
    name: 'berth',
    services: [
      {
        name: 'api',
        container: { image: 'api:1', networkMode: 1 },
        restart: restart(RestartCondition.RESTART_CONDITION_ANY),
        dependsOn: [{ service: 'setup', condition: DependencyCondition.DEPENDENCY_CONDITION_COMPLETED_SUCCESSFULLY }],
      },
      {
        name: 'setup',
        container: { image: 'setup:1', networkMode: 1 },
        restart: restart(RestartCondition.RESTART_CONDITION_ON_FAILURE),
        dependsOn: [{ service: 'store', condition: DependencyCondition.DEPENDENCY_CONDITION_STARTED }],
      },
      {
        name: 'store',
        container: { image, networkMode: 1 },
        restart: restart(RestartCondition.RESTART_CONDITION_ANY),
      },
    ],
  });
}

function setUp(spec: StackSpec, containers: readonly ContainerState[] = []) {
  const tasks = new NodeTasks({ node, now: 0 });
  tasks.listed(tasks.containers.ticket(), containers);
  const statics = staticAssignments(spec, owner);
  tasks.setStatics(statics);
  tasks.rerunOneShots(statics.filter((a) => isOneShot(a.spec)).map((a) => a.task!.id));
  const service = (taskId: string) => statics.find((a) => a.task?.id === taskId)?.task?.service ?? taskId;
  const id = (name: string) => statics.find((a) => a.task?.service === name)!.task!.id;
  const see = (name: string, run: number, phase: ContainerPhase): void => {
    const state = containerOf(id(name), name, run, phase);
    tasks.containers.see(tasks.containers.ticket(), state.id, state);
    tasks.succeeded(id(name));
  };
  const act = (now: number): string[] => {
    const actions = tasks.decide(now).actions.map(({ taskId, action }) => `${action.kind} ${service(taskId)}`);
    // A status that has just come about may let others go.
    return [...actions, ...tasks.decide(now).actions.map(({ taskId, action }) => `${action.kind} ${service(taskId)}`)];
  };
  return { tasks, id, see, act };
}

function containerOf(taskId: string, service: string, run: number, phase: ContainerPhase): ContainerState {
  const labels = { [label.task]: taskId, [label.run]: String(run), [label.static]: 'true', [label.service]: service };
  return { id: `${taskId}-${run}`, name: '', labels, phase, health: 'none', healthOutput: '', ports: [] };
}

const running: ContainerPhase = { kind: 'running', startedAtMs: 1 };
const ended: ContainerPhase = { kind: 'exited', exitCode: 0, startedAtMs: 1, finishedAtMs: 2, error: '' };
const broken: ContainerPhase = { ...ended, exitCode: 1 };

describe('static tasks', () => {
  it('start in the order of what they depend on, with no word from anybody', () => {
    const { see, act } = setUp(manifest());
    expect(act(0)).toEqual(['launch store']);
    see('store', 1, running);
    expect(act(1)).toEqual(['launch setup']);
    see('setup', 1, running);
    expect(act(2)).toEqual([]);
    see('setup', 1, ended);
    expect(act(3)).toEqual(['launch api']);
  });

  it('wait for 5 s at most before the next try, however often they have failed', () => {
    const { see, act } = setUp(manifest());
    expect(act(0)).toEqual(['launch store']);
    for (let run = 1; run <= 10; run += 1) {
      see('store', run, broken);
      act(run * 10_000);
      expect(act(run * 10_000 + 5_000)).toEqual(['launch store']);
    }
  });

  it('are never given up: what cannot be started waits for what it lacks', () => {
    const { tasks, id, act } = setUp(manifest());
    expect(act(0)).toEqual(['launch store']);
    tasks.launchFailed(id('store'), { kind: 'rejected', message: 'image not on node' }, 1);
    expect(act(2)).toEqual([]);
    expect(tasks.staticStates().get('store')).toContain('image not on node');
    expect(act(10_000)).toEqual(['launch store']);
  });

  it('a one-shot that fails is tried again, and what waits for it waits', () => {
    const { see, act } = setUp(manifest());
    act(0);
    see('store', 1, running);
    act(1);
    see('setup', 1, broken);
    expect(act(2)).toEqual([]);
    expect(act(102)).toEqual(['launch setup']);
  });

  it('are adopted by a new agent; only the one-shot runs again', () => {
    const ids = Object.fromEntries(staticAssignments(manifest(), owner).map((a) => [a.task!.service, a.task!.id]));
    const found = [
      containerOf(ids['store']!, 'store', 2, running),
      containerOf(ids['setup']!, 'setup', 1, ended),
      containerOf(ids['api']!, 'api', 1, running),
    ];
    const { see, act, tasks } = setUp(manifest(), found);
    expect(act(0)).toEqual(['launch setup']);
    see('setup', 2, ended);
    expect(act(1)).toEqual([]);
    expect(tasks.staticStates()).toEqual(
      new Map([
        ['api', 'running'],
        ['setup', 'complete'],
        ['store', 'running'],
      ]),
    );
  });

  it('after a boot all start again, in order', () => {
    const ids = Object.fromEntries(staticAssignments(manifest(), owner).map((a) => [a.task!.service, a.task!.id]));
    const { act, see } = setUp(manifest(), [
      containerOf(ids['store']!, 'store', 2, broken),
      containerOf(ids['setup']!, 'setup', 1, ended),
      containerOf(ids['api']!, 'api', 1, broken),
    ]);
    expect(act(0)).toEqual([]);
    expect(act(100)).toEqual(['launch store']);
    see('store', 3, running);
    expect(act(101)).toEqual(['launch setup']);
    see('setup', 2, ended);
    expect(act(200)).toEqual(['launch api']);
  });

  it('a changed one takes the place of its earlier version, which ends first', () => {
    const old = staticAssignments(manifest(), owner).find((a) => a.task?.service === 'store')!.task!.id;
    const { act, tasks, id } = setUp(manifest('store:2'), [containerOf(old, 'store', 1, running)]);
    expect(id('store')).not.toBe(old);
    expect(act(0)).toEqual([`stop ${old}`]);
    tasks.containers.see(tasks.containers.ticket(), `${old}-1`, containerOf(old, 'store', 1, ended));
    tasks.succeeded(old);
    expect(act(1)).toEqual([`remove ${old}`]);
    tasks.containers.see(tasks.containers.ticket(), `${old}-1`, undefined);
    tasks.succeeded(old);
    expect(act(2)).toContain('launch store');
  });
});
