import { helloOf } from '@berth/contracts';
import type { SessionResponse } from '@berth/contracts/scheduler';
import { ChangeAction } from '@berth/contracts/scheduler';
import { DependencyCondition, Protocol, RestartCondition, TaskState } from '@berth/contracts/workload';
import type { Store, TxnRequest } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { MemoryLogger, MemoryRpc, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../testing/builders.ts';
import { FakeAgent, TestCluster } from '../testing/cluster.ts';

const { TASK_STATE_RUNNING } = TaskState;
const guestbook = (count = 2, image = 'web:1') =>
  stackSpec(
    'guestbook',
    [
      serviceSpec('redis'),
      serviceSpec('web', {
        mode: replicas(count),
        container: { image },
        networks: [{ network: 'default', aliases: [] }],
        dependsOn: [{ service: 'redis', condition: DependencyCondition.DEPENDENCY_CONDITION_HEALTHY }],
      }),
    ],
    { networks: [{ name: 'default' }] },
  );

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** A cluster of one node with a scheduler and an agent that runs what it gets. */
function setUp(options: { addresses?: readonly string[]; nodes?: readonly string[] } = {}) {
  const clock = new VirtualClock();
  const rng = new SeededRng(1);
  const log = new MemoryLogger();
  const store = new MemoryStore({ clock });
  const cluster = new TestCluster({ clock, rng, log, store, rpc: new MemoryRpc({ clock, rng, logger: log }) });
  const abort = new AbortController();
  const nodes = options.nodes ?? ['n1'];
  for (const id of nodes) cluster.setNode(nodeFacts(id, { manager: id === 'n1' }));
  const agents = nodes.map((id) => new FakeAgent(cluster, id, options.addresses));
  const begin = () => {
    for (const agent of agents) void agent.run(abort.signal);
  };
  ends.push(async () => {
    abort.abort();
    await cluster.stop();
  });
  return { cluster, agents, agent: agents[0]!, begin };
}

async function running(cluster: TestCluster, count: number, address?: string): Promise<void> {
  for (let turn = 0; turn < 200; turn += 1) {
    const tasks = await cluster.tasks(address);
    if (tasks.filter(({ status }) => status?.state === TASK_STATE_RUNNING).length === count && tasks.length === count)
      return;
    await cluster.clock.advance(100);
  }
  throw new Error(`never came to ${count} running tasks: ${JSON.stringify(await cluster.tasks(address))}`);
}

describe('the whole flow', () => {
  it('apply -> assigned -> running; again: nothing; change: only that; down: nothing left', async () => {
    const { cluster, begin } = setUp();
    cluster.start('scheduler');
    begin();
    const control = cluster.control();
    const applied = await cluster.finish(control.applyStack({ spec: guestbook() }));
    expect(applied.changes.map(({ kind, name, action }) => [kind, name, action])).toEqual([
      ['service', 'redis', ChangeAction.CHANGE_ACTION_CREATE],
      ['service', 'web', ChangeAction.CHANGE_ACTION_CREATE],
      ['network', 'default', ChangeAction.CHANGE_ACTION_CREATE],
    ]);
    cluster.setNetwork('net1', applied.stack?.id);
    await running(cluster, 3);
    const { services } = await cluster.finish(control.listServices({}));
    expect(services.map(({ name, running: is, wanted }) => [name, is, wanted])).toEqual([
      ['redis', 1, 1],
      ['web', 2, 2],
    ]);

    // The same again changes no key of the scheduler's, not over time either; only leases live on.
    const own = async () =>
      (await cluster.store.list('scheduler/')).entries.map(({ key, modRevision }) => `${key}@${modRevision}`);
    const before = await own();
    const again = await cluster.finish(control.applyStack({ spec: guestbook() }));
    expect(again.changes).toEqual([]);
    expect(again.stack?.version).toBe(1);
    await cluster.clock.advance(600_000);
    expect(await own()).toEqual(before);

    const plan = await cluster.finish(control.planStack({ spec: guestbook(3) }));
    expect(plan.changes).toMatchObject([
      {
        name: 'web',
        action: ChangeAction.CHANGE_ACTION_UPDATE,
        tasksCreated: 1,
        tasksReplaced: 0,
        fields: [{ path: 'mode.replicated.replicas', before: '2', after: '3' }],
      },
    ]);
    expect(await own()).toEqual(before);
    const kept = (await cluster.tasks()).map(({ task }) => task?.id);
    await cluster.finish(control.applyStack({ spec: guestbook(3) }));
    await running(cluster, 4);
    expect((await cluster.tasks()).map(({ task }) => task?.id)).toEqual(expect.arrayContaining(kept));

    await cluster.finish(control.removeStack({ namespace: '', name: 'guestbook', volumes: false }));
    await expect(cluster.finish(control.applyStack({ spec: guestbook() }))).rejects.toMatchObject({
      reason: 'STACK_REMOVING',
    });
    await cluster.clock.advance(1_000);
    expect(await cluster.tasks('scheduler', true)).toEqual([]);
    const going = await cluster.finish(control.listStacks({}));
    expect(going.stacks).toMatchObject([{ name: 'guestbook', removing: true, waitingForNodes: [] }]);
    cluster.setNetwork('net1', undefined);
    await cluster.clock.advance(1_000);
    expect((await own()).map((entry) => entry.split('@')[0])).toEqual(['scheduler/leader']);
  });

  it('a refused network refuses the stack whole', async () => {
    const { cluster } = setUp();
    cluster.start('scheduler');
    cluster.checkStack = () => {
      throw new BerthError('Exhausted', 'the pool is used up', { reason: 'POOL_EXHAUSTED' });
    };
    await expect(cluster.finish(cluster.control().applyStack({ spec: guestbook() }))).rejects.toMatchObject({
      code: 'Exhausted',
      reason: 'POOL_EXHAUSTED',
    });
    const { stacks } = await cluster.finish(cluster.control().listStacks({}));
    expect(stacks).toEqual([]);
  });

  it('a spec that can not stand is refused with every problem', async () => {
    const { cluster } = setUp();
    cluster.start('scheduler');
    const spec = stackSpec('x', [
      serviceSpec('a', { dependsOn: [{ service: 'b' }], constraints: ['node.colour == red'] }),
    ]);
    await expect(cluster.finish(cluster.control().applyStack({ spec }))).rejects.toMatchObject({
      code: 'InvalidArgument',
      message: expect.stringMatching(/depends on "b".*no field node\.colour|no field node\.colour.*depends on "b"/u),
    });
    await expect(
      cluster.finish(cluster.control().applyStack({ spec: guestbook(), expectedVersion: 4 })),
    ).rejects.toMatchObject({ code: 'Conflict', reason: 'VERSION_MISMATCH' });
  });

  it('explains a task that waits, with every filter', async () => {
    const { cluster, begin } = setUp();
    cluster.start('scheduler');
    begin();
    const spec = stackSpec('x', [
      serviceSpec('big', { reservations: { cpuMillis: 0, memoryBytes: 64 * 1024 ** 3 } }),
      serviceSpec('after', {
        dependsOn: [{ service: 'big', condition: DependencyCondition.DEPENDENCY_CONDITION_STARTED }],
      }),
      serviceSpec('far', { constraints: ['node.hostname == elsewhere'] }),
    ]);
    await cluster.finish(cluster.control().applyStack({ spec }));
    await cluster.clock.advance(1_000);
    const why = async (task: string) => (await cluster.finish(cluster.control().explainTask({ task }))).pending;
    expect(await why('x_big.1')).toEqual({
      summary: 'none of 1 node can take it: 1 short of memory',
      filters: [{ filter: 'memory', nodes: 1, detail: 'needs 65536 MiB, most free 8192 MiB' }],
      nodes: 1,
      passing: false,
    });
    expect(await why('after.1')).toMatchObject({ summary: 'big is not started yet (0 of 1)' });
    expect(await why('far.1')).toMatchObject({
      filters: [{ filter: 'constraint', detail: 'node.hostname == elsewhere: not met by 1' }],
    });
    await expect(why('nothing')).rejects.toMatchObject({ code: 'NotFound' });
  });
});

describe('dispatch', () => {
  it('sends the full set first, then deltas, and goes on where it broke off', async () => {
    const { cluster } = setUp();
    cluster.start('scheduler');
    await cluster.finish(cluster.control().applyStack({ spec: stackSpec('a', [serviceSpec('one')]) }));
    await cluster.clock.advance(500);
    const steps: SessionResponse[] = [];
    const follow = async (since: SessionResponse['revision'], signal: AbortSignal, full = false) => {
      const session = cluster.dispatch('n1').session({ hello: helloOf('c1', ''), since, full }, { signal });
      try {
        for await (const step of session) steps.push(step);
      } catch {
        // The test ended it.
      }
    };
    const first = new AbortController();
    void follow(undefined, first.signal);
    await cluster.clock.advance(500);
    expect(steps).toMatchObject([
      { full: true, assignments: [{ task: { service: 'one' }, spec: { name: 'one' }, lastStatus: undefined }] },
    ]);
    await cluster.finish(cluster.control().applyStack({ spec: stackSpec('b', [serviceSpec('two')]) }));
    await cluster.clock.advance(500);
    expect(steps.slice(1)).toMatchObject([{ full: false, assignments: [{ task: { service: 'two' } }] }]);
    const broke = steps.at(-1)?.revision;
    first.abort();
    await cluster.clock.advance(100);
    await cluster.finish(cluster.control().applyStack({ spec: stackSpec('c', [serviceSpec('three')]) }));
    await cluster.clock.advance(500);
    steps.length = 0;
    const second = new AbortController();
    void follow(broke, second.signal);
    await cluster.clock.advance(500);
    expect(steps).toMatchObject([{ full: false, assignments: [{ task: { service: 'three' } }] }]);
    second.abort();
    await cluster.clock.advance(100);
    // An agent that has started asks for all of it, but nothing older than it has had.
    steps.length = 0;
    const third = new AbortController();
    void follow(broke, third.signal, true);
    await cluster.clock.advance(500);
    expect(steps).toMatchObject([{ full: true }]);
    expect(steps[0]?.assignments).toHaveLength(3);
    third.abort();
    await cluster.clock.advance(100);
  });

  it('takes newer statuses, ignores older ones, refuses those of another node', async () => {
    const { cluster } = setUp({ nodes: ['n1', 'n2'] });
    cluster.start('scheduler');
    await cluster.finish(cluster.control().applyStack({ spec: stackSpec('a', [serviceSpec('one')]) }));
    await cluster.clock.advance(500);
    const [view] = await cluster.tasks();
    const { id: taskId, nodeId } = view!.task!;
    const other = nodeId === 'n1' ? 'n2' : 'n1';
    const report = (from: string, run: number, seq: number, state: TaskState, id = taskId) =>
      cluster.finish(cluster.dispatch(from).reportStatus({ statuses: [{ taskId: id, run, seq, state }] }));
    await report(nodeId, 2, 1, TASK_STATE_RUNNING);
    await report(nodeId, 1, 9, TaskState.TASK_STATE_RESTARTING);
    const state = async () => (await cluster.tasks())[0]?.status;
    expect(await state()).toMatchObject({ run: 2, seq: 1, state: TASK_STATE_RUNNING });
    const { revision } = cluster.store;
    await report(nodeId, 2, 1, TASK_STATE_RUNNING);
    expect(cluster.store.revision).toBe(revision);
    await expect(report(other, 3, 1, TASK_STATE_RUNNING)).rejects.toMatchObject({
      code: 'PermissionDenied',
      reason: 'FOREIGN_TASK',
    });
    await expect(report(nodeId, 3, 1, TaskState.TASK_STATE_ASSIGNED)).rejects.toMatchObject({ reason: 'BAD_STATUS' });
    expect(await report(nodeId, 1, 1, TASK_STATE_RUNNING, 'unheard')).toEqual({ unknownTaskIds: ['unheard'] });
  });

  it("lists the control plane's own tasks as stack berth, and counts what they hold", async () => {
    const { cluster } = setUp({ nodes: ['n1', 'n2'] });
    cluster.start('scheduler');
    await cluster.clock.advance(100);
    const tasks = [
      {
        id: 'static-etcd',
        service: 'etcd',
        image: 'etcd:3',
        reservations: { cpuMillis: 3_900, memoryBytes: 0 },
        hostPorts: [{ target: 7441, published: 7441, protocol: Protocol.PROTOCOL_TCP, hostIp: '127.0.0.1' }],
      },
      { id: 'static-bootstrap', service: 'bootstrap', image: 'b' },
    ];
    const statuses = [
      { taskId: 'static-etcd', run: 1, seq: 1, state: TASK_STATE_RUNNING },
      { taskId: 'static-bootstrap', run: 1, seq: 1, state: TaskState.TASK_STATE_COMPLETE },
    ];
    await cluster.finish(cluster.dispatch('n1').reportStatic({ tasks, statuses }));
    const { revision } = cluster.store;
    await cluster.finish(cluster.dispatch('n1').reportStatic({ tasks, statuses }));
    expect(cluster.store.revision).toBe(revision);
    await expect(cluster.finish(cluster.dispatch('n2').reportStatic({ tasks, statuses }))).rejects.toMatchObject({
      reason: 'NOT_A_MANAGER',
    });
    const { stacks } = await cluster.finish(cluster.control().listStacks({}));
    expect(stacks).toMatchObject([{ name: 'berth', static: true }]);
    const { services } = await cluster.finish(cluster.control().listServices({}));
    expect(services.map(({ name, running: is, wanted }) => [name, is, wanted])).toEqual([
      ['bootstrap', 0, 0],
      ['etcd', 1, 1],
    ]);
    const spec = stackSpec('x', [
      serviceSpec('a', { mode: replicas(2), reservations: { cpuMillis: 500, memoryBytes: 0 } }),
    ]);
    await cluster.finish(cluster.control().applyStack({ spec }));
    await cluster.clock.advance(500);
    const placed = (await cluster.tasks()).filter(({ task }) => !task?.static).map(({ task }) => task?.nodeId);
    expect(placed).toEqual(['n2', 'n2']);
    await expect(cluster.finish(cluster.control().removeStack({ name: 'berth' }))).rejects.toMatchObject({
      reason: 'STATIC_STACK',
    });
    await expect(cluster.finish(cluster.control().applyStack({ spec: stackSpec('berth', []) }))).rejects.toMatchObject({
      reason: 'BAD_SPEC',
    });
  });
});

describe('invariant 9: absence counts only in a synced mirror', () => {
  it('with the registry away nothing is placed, orphaned or deleted; what runs goes on', async () => {
    const { cluster, begin } = setUp();
    cluster.start('scheduler');
    begin();
    await cluster.finish(
      cluster.control().applyStack({ spec: stackSpec('a', [serviceSpec('one', { mode: replicas(2) })]) }),
    );
    await running(cluster, 2);
    const heal = cluster.rpc.cut('scheduler', 'registry');
    await cluster.clock.advance(10_000);
    const before = (await cluster.tasks()).map(({ task }) => task);
    await cluster.finish(
      cluster.control().applyStack({ spec: stackSpec('a', [serviceSpec('one', { mode: replicas(3) })]) }),
    );
    await cluster.clock.advance(60_000);
    expect((await cluster.tasks()).map(({ task }) => task)).toEqual(before);
    heal();
    await cluster.clock.advance(10_000);
    await running(cluster, 3);
  });

  it('a stack whose networks are not known stays until they are', async () => {
    const { cluster, begin } = setUp();
    cluster.start('scheduler');
    begin();
    await cluster.finish(cluster.control().applyStack({ spec: guestbook() }));
    await running(cluster, 3);
    const heal = cluster.rpc.cut('scheduler', 'network-manager');
    await cluster.clock.advance(10_000);
    await cluster.finish(cluster.control().removeStack({ name: 'guestbook' }));
    await cluster.clock.advance(30_000);
    const listed = async () => (await cluster.finish(cluster.control().listStacks({}))).stacks.length;
    expect(await listed()).toBe(1);
    heal();
    await cluster.clock.advance(10_000);
    expect(await listed()).toBe(0);
  });
});

describe('leaders', () => {
  it('another replica goes on where the leader died, and nothing is done twice', async () => {
    const { cluster, begin } = setUp({ addresses: ['s1', 's2'] });
    const first = cluster.start('s1');
    await cluster.clock.advance(200);
    const second = cluster.start('s2');
    begin();
    await cluster.clock.advance(500);
    expect([first.leads, second.leads]).toEqual([true, false]);
    const spec = (count: number) => stackSpec('a', [serviceSpec('one', { mode: replicas(count) })]);
    // Any replica accepts; the leader decides.
    await cluster.finish(cluster.control('s2').applyStack({ spec: spec(5) }));
    await running(cluster, 5, 's2');
    const kept = (await cluster.tasks('s2')).map(({ task }) => task?.id);
    await cluster.kill(first);
    await cluster.finish(cluster.control('s2').applyStack({ spec: spec(8) }));
    await cluster.clock.advance(10_000);
    expect(second.leads).toBe(true);
    await running(cluster, 8, 's2');
    expect((await cluster.tasks('s2')).map(({ task }) => task?.id)).toEqual(expect.arrayContaining(kept));
  });

  it('a crash at any write ends where an undisturbed run does', async () => {
    const shape = async (cluster: TestCluster, address: string) =>
      (await cluster.tasks(address, true)).map(
        ({ task, status }) => `${task?.service}.${task?.slot} ${task?.image} ${task?.desired} ${status?.state}`,
      );
    const end = ['redis.1 redis:1 1 6', 'web.1 web:2 1 6', 'web.2 web:2 1 6'];
    for (let crashAt = 1; crashAt <= 40; crashAt += 3) {
      const { cluster, begin } = setUp({ addresses: ['s1', 's2'] });
      const store = new CrashingStore(cluster.store, crashAt);
      const doomed = cluster.start('s1', store);
      store.onCrash = () => void cluster.kill(doomed);
      begin();
      await cluster.clock.advance(100);
      cluster.start('s2');
      await cluster.clock.advance(100);
      await cluster.finish(cluster.control('s2').applyStack({ spec: guestbook(2, 'web:1') }));
      await cluster.clock.advance(300);
      await cluster.finish(cluster.control('s2').applyStack({ spec: guestbook(2, 'web:2') }));
      await cluster.clock.advance(30_000);
      const history = (line: string) => !line.includes(' 2 11');
      expect((await shape(cluster, 's2')).filter(history), `crash at write ${crashAt}`).toEqual(end);
    }
  }, 60_000);

  it('two replicas that accept at once: both stand, one after the other, unless one said what it expects', async () => {
    const { cluster } = setUp();
    cluster.start('s1');
    cluster.start('s2');
    await cluster.clock.advance(200);
    const apply = (address: string, image: string, expectedVersion?: number) =>
      cluster.finish(cluster.control(address).applyStack({ spec: guestbook(1, image), expectedVersion }));
    const both = await Promise.all([apply('s1', 'web:1'), apply('s2', 'web:2')]);
    expect(both.map(({ stack }) => stack?.version).sort()).toEqual([1, 2]);
    expect(new Set(both.map(({ stack }) => stack?.id)).size).toBe(1);
    const outcomes = await Promise.allSettled([apply('s1', 'web:3', 2), apply('s2', 'web:4', 2)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const refused = outcomes.find((outcome) => outcome.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'Conflict', reason: 'VERSION_MISMATCH' });
    // Whose answer was lost asks again, with what it expected then: no conflict with itself.
    const again = await apply('s1', outcomes[0]?.status === 'fulfilled' ? 'web:3' : 'web:4', 2);
    expect(again).toMatchObject({ stack: { version: 3 }, changes: [] });
  });

  it('a store that is away for a while costs time only', async () => {
    const { cluster, begin } = setUp();
    cluster.start('scheduler');
    begin();
    await cluster.finish(cluster.control().applyStack({ spec: guestbook() }));
    await running(cluster, 3);
    cluster.store.setAvailable(false);
    await cluster.clock.advance(20_000);
    cluster.store.setAvailable(true);
    await cluster.clock.advance(20_000);
    await cluster.finish(cluster.control().applyStack({ spec: guestbook(4) }));
    await running(cluster, 5);
  });
});

describe('logs and exec', () => {
  it('merges the output of tasks, follows new ones, and names the caller', async () => {
    const { cluster, begin } = setUp();
    const node = nodeFacts('n1', { manager: true });
    const callers = new Set<string>();
    cluster.serveRuntime(node, {
      async *logs(request, { signal }) {
        callers.add(request.caller);
        yield { stderr: false, line: Buffer.from(`hello from ${request.taskId}`), atMs: 1 };
        while (request.follow && !signal.aborted) await cluster.clock.sleep(1_000, signal);
      },
      async *exec(requests) {
        for await (const { step } of requests) {
          if (step?.$case === 'start') callers.add(step.value.caller);
          if (step?.$case === 'stdin') yield { step: { $case: 'stdout', value: step.value } };
          if (step?.$case === 'stdinEnd') yield { step: { $case: 'exitCode', value: 7 } };
        }
      },
    });
    cluster.start('scheduler');
    begin();
    const spec = (count: number) => stackSpec('a', [serviceSpec('one', { mode: replicas(count) })]);
    await cluster.finish(cluster.control().applyStack({ spec: spec(2) }));
    await running(cluster, 2);
    const read = async (follow: boolean, lines: string[], signal: AbortSignal) => {
      for await (const line of cluster.control().logs({ stack: 'a', follow }, { signal }))
        lines.push(`${line.taskName}: ${line.line}`);
    };
    const once: string[] = [];
    await cluster.finish(read(false, once, new AbortController().signal));
    expect(once.sort()).toMatchObject([
      expect.stringMatching(/^one\.1: hello/u),
      expect.stringMatching(/^one\.2: hello/u),
    ]);
    const followed: string[] = [];
    const stop = new AbortController();
    const reading = read(true, followed, stop.signal).catch(() => {});
    await cluster.clock.advance(500);
    await cluster.finish(cluster.control().applyStack({ spec: spec(3) }));
    await running(cluster, 3);
    await cluster.clock.advance(1_000);
    expect(followed).toHaveLength(3);
    stop.abort();
    await cluster.finish(reading);
    await expect(
      cluster.finish(
        read(false, [], new AbortController().signal).then(() =>
          cluster.control().logs({ stack: 'none' })[Symbol.asyncIterator]().next(),
        ),
      ),
    ).rejects.toMatchObject({ code: 'NotFound' });

    async function* input() {
      yield { step: { $case: 'start' as const, value: { task: 'a_one.1', command: ['cat'] } } };
      yield { step: { $case: 'stdin' as const, value: Buffer.from('abc') } };
      yield { step: { $case: 'stdinEnd' as const, value: true } };
    }
    const output: string[] = [];
    await cluster.finish(
      (async () => {
        for await (const { step } of cluster.control().exec(input())) output.push(String(step?.value));
      })(),
    );
    expect(output).toEqual(['abc', '7']);
    expect([...callers]).toEqual(['operator:admin']);
  });
});

describe('followed logs', () => {
  /** A node that gives one line for each call, and ends the call after a second if told so. */
  function follow(endsCalls: boolean) {
    const set = setUp();
    const { cluster, begin } = set;
    let calls = 0;
    cluster.serveRuntime(nodeFacts('n1', { manager: true }), {
      async *logs(request, { signal }) {
        calls += 1;
        yield { stderr: false, line: Buffer.from(`call ${calls}`), atMs: calls };
        do await cluster.clock.sleep(1_000, signal);
        while (request.follow && !signal.aborted && !endsCalls);
      },
    });
    cluster.start('scheduler');
    begin();
    return set;
  }
  const up = async (cluster: TestCluster) => {
    await cluster.finish(cluster.control().applyStack({ spec: stackSpec('a', [serviceSpec('one')]) }));
    await running(cluster, 1);
  };
  const read = (cluster: TestCluster, request: { taskId?: string; stack?: string }) => {
    const lines: string[] = [];
    const stop = new AbortController();
    let ended = false;
    const done = (async () => {
      const responses = cluster.control().logs({ ...request, follow: true }, { signal: stop.signal });
      for await (const line of responses) lines.push(line.line.toString());
    })().then(
      () => {
        ended = true;
      },
      () => {},
    );
    return { lines, stop: () => stop.abort(), ended: () => ended, done };
  };

  it('of a task that is taken away end; the scheduler goes on', async () => {
    const { cluster } = follow(false);
    await up(cluster);
    const [view] = await cluster.tasks();
    const reading = read(cluster, { taskId: view?.task?.id ?? '' });
    await cluster.clock.advance(500);
    expect(reading.lines).toEqual(['call 1']);
    await cluster.finish(cluster.control().applyStack({ spec: stackSpec('a', [serviceSpec('two')]) }));
    await cluster.clock.advance(2_000);
    expect((await cluster.tasks()).map(({ task }) => task?.service)).toEqual(['two']);
    reading.stop();
    await cluster.finish(reading.done);
  });

  it('go on after their agent has restarted in good order, from where they were', async () => {
    const { cluster } = follow(true);
    await up(cluster);
    const reading = read(cluster, { stack: 'a' });
    await cluster.clock.advance(4_500);
    expect(reading.lines.length).toBeGreaterThan(1);
    reading.stop();
    await cluster.finish(reading.done);
  });
});

it('a restarting container is seen with its next run', async () => {
  const { cluster, agent, begin } = setUp();
  cluster.start('scheduler');
  begin();
  const restart = { condition: RestartCondition.RESTART_CONDITION_ANY, delayMs: 100, maxAttempts: 0, windowMs: 0 };
  await cluster.finish(cluster.control().applyStack({ spec: stackSpec('a', [serviceSpec('one', { restart })]) }));
  await running(cluster, 1);
  agent.outcome = () => ({ state: TaskState.TASK_STATE_RESTARTING, run: 2, failedRuns: 1, exitCode: 137 });
  await cluster.finish(agent.react());
  await cluster.clock.advance(100);
  expect(await cluster.tasks()).toMatchObject([
    { status: { run: 2, state: TaskState.TASK_STATE_RESTARTING, exitCode: 137 } },
  ]);
});

/** Loses its process at the nth write: half of the time after the write took effect, with nobody left to hear of it. */
class CrashingStore implements Store {
  readonly #store: Store;
  #left: number;
  onCrash: () => void = () => {};

  constructor(store: Store, writes: number) {
    this.#store = store;
    this.#left = writes;
  }

  async txn(request: TxnRequest) {
    this.#left -= 1;
    if (this.#left > 0) return this.#store.txn(request);
    if (this.#left % 2 === 0) await this.#store.txn(request);
    this.onCrash();
    throw new BerthError('Unavailable', 'crashed', { reason: 'OUTCOME_UNKNOWN' });
  }

  epoch = () => this.#store.epoch();
  get = (key: string) => this.#store.get(key);
  list: Store['list'] = (prefix, options) => this.#store.list(prefix, options);
  mirror: Store['mirror'] = (prefix, options) => this.#store.mirror(prefix, options);
  lease = (ttlMs: number) => this.#store.lease(ttlMs);
  campaign: Store['campaign'] = (key, candidate, options) => this.#store.campaign(key, candidate, options);
}
