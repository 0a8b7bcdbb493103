import { helloOf } from '@berth/contracts';
import { NodeStatus } from '@berth/contracts/registry';
import type { Change } from '@berth/contracts/scheduler';
import { Availability } from '@berth/contracts/scheduler';
import { TaskState } from '@berth/contracts/workload';
import { MemoryLogger, MemoryRpc, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../testing/builders.ts';
import { FakeAgent, TestCluster } from '../testing/cluster.ts';

const { AVAILABILITY_ACTIVE, AVAILABILITY_DRAIN, AVAILABILITY_PAUSE } = Availability;

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** A cluster with two replicas of the scheduler and agents that run what they get. */
function setUp(nodes: readonly string[]) {
  const clock = new VirtualClock();
  const rng = new SeededRng(1);
  const log = new MemoryLogger();
  const store = new MemoryStore({ clock });
  const cluster = new TestCluster({ clock, rng, log, store, rpc: new MemoryRpc({ clock, rng, logger: log }) });
  const abort = new AbortController();
  for (const id of nodes) cluster.setNode(nodeFacts(id));
  const agents = new Map(nodes.map((id) => [id, new AbortController()]));
  for (const [id, { signal }] of agents) {
    void new FakeAgent(cluster, id, ['s1', 's2']).run(AbortSignal.any([signal, abort.signal]));
  }
  cluster.start('s1');
  cluster.start('s2');
  ends.push(async () => {
    abort.abort();
    await cluster.stop();
  });
  return Object.assign(cluster, { stopAgent: (id: string) => agents.get(id)?.abort() });
}

describe('SetAvailability', () => {
  const spec = stackSpec('a', [
    serviceSpec('each', { mode: { $case: 'global', value: {} } }),
    serviceSpec('one', { mode: replicas(2) }),
  ]);
  const set = (cluster: TestCluster, node: string, availability: Availability, address = 's1') =>
    cluster.finish(cluster.control(address).setAvailability({ node, availability }));
  const runningOn = async (cluster: TestCluster, service: string) =>
    (await cluster.tasks('s2'))
      .filter(({ task, status }) => task?.service === service && status?.state === TaskState.TASK_STATE_RUNNING)
      .map(({ task }) => task?.nodeId)
      .sort();

  it('is stored, shown by any replica, told as a change of the node, and the same again changes nothing', async () => {
    const cluster = setUp(['n1', 'n2']);
    await cluster.clock.advance(200);
    const seen: Change[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      const steps = cluster
        .control('s2')
        .watch({ hello: helloOf('c1', ''), since: undefined, scopes: ['node.n1'] }, { signal: stop.signal });
      for await (const { changes } of steps) seen.push(...changes);
    })().catch(() => {});
    const { node, revision } = await set(cluster, 'host-n1', AVAILABILITY_PAUSE);
    expect(node).toMatchObject({ id: 'n1', hostname: 'host-n1', availability: AVAILABILITY_PAUSE });
    await cluster.clock.advance(100);
    const { nodes } = await cluster.finish(cluster.control('s2').listNodes({}));
    expect(nodes.map(({ availability }) => availability)).toEqual([AVAILABILITY_PAUSE, AVAILABILITY_ACTIVE]);
    expect(seen).toMatchObject([{ key: 'availability/n1', resource: { value: { availability: AVAILABILITY_PAUSE } } }]);
    expect(revision?.revision).toBeGreaterThan(0);
    const before = cluster.store.revision;
    await set(cluster, 'n1', AVAILABILITY_PAUSE, 's2');
    await set(cluster, 'n2', AVAILABILITY_ACTIVE);
    expect(cluster.store.revision).toBe(before);
    stop.abort();
    await cluster.finish(watching);
  });

  it('refuses a node that is none, and an availability that is none', async () => {
    const cluster = setUp(['n1']);
    await cluster.clock.advance(200);
    await expect(set(cluster, 'nowhere', AVAILABILITY_DRAIN)).rejects.toMatchObject({ reason: 'NO_SUCH_NODE' });
    await expect(set(cluster, 'n1', Availability.AVAILABILITY_UNSPECIFIED)).rejects.toMatchObject({
      reason: 'BAD_AVAILABILITY',
    });
  });

  it('a paused node keeps its tasks and gets none; active again, it gets what comes', async () => {
    const cluster = setUp(['n1', 'n2']);
    await cluster.clock.advance(200);
    await set(cluster, 'n1', AVAILABILITY_PAUSE);
    await cluster.finish(cluster.control('s1').applyStack({ spec }));
    await cluster.clock.advance(1_000);
    expect(await runningOn(cluster, 'one')).toEqual(['n2', 'n2']);
    expect(await runningOn(cluster, 'each')).toEqual(['n2']);
    await set(cluster, 'n1', AVAILABILITY_ACTIVE);
    await cluster.clock.advance(1_000);
    expect(await runningOn(cluster, 'one')).toEqual(['n2', 'n2']);
    expect(await runningOn(cluster, 'each')).toEqual(['n1', 'n2']);
  });

  it("a drained node's global tasks go; active again, they come back", async () => {
    const cluster = setUp(['n1', 'n2']);
    await cluster.clock.advance(200);
    await cluster.finish(cluster.control('s1').applyStack({ spec }));
    await cluster.clock.advance(1_000);
    expect(await runningOn(cluster, 'each')).toEqual(['n1', 'n2']);
    await set(cluster, 'n1', AVAILABILITY_DRAIN);
    await cluster.clock.advance(1_000);
    expect(await runningOn(cluster, 'each')).toEqual(['n2']);
    await set(cluster, 'n1', AVAILABILITY_ACTIVE);
    await cluster.clock.advance(1_000);
    expect(await runningOn(cluster, 'each')).toEqual(['n1', 'n2']);
  });
});

describe('a spec is accepted by what nodes there are', () => {
  const bound = stackSpec('a', [
    serviceSpec('web', {
      container: { image: 'w', mounts: [{ type: 2, source: '/x', target: '/x', relativeSource: './x' }] },
    }),
  ]);

  it('a relative bind is refused on several nodes, by plan and apply; with the registry away nobody can say', async () => {
    const cluster = setUp(['n1', 'n2']);
    await cluster.clock.advance(200);
    const refused = { code: 'InvalidArgument', reason: 'RELATIVE_BIND' };
    await expect(cluster.finish(cluster.control('s1').applyStack({ spec: bound }))).rejects.toMatchObject(refused);
    await expect(cluster.finish(cluster.control('s1').planStack({ spec: bound }))).rejects.toMatchObject(refused);
    cluster.rpc.cut('s1', 'registry');
    await cluster.clock.advance(10_000);
    await expect(cluster.finish(cluster.control('s1').applyStack({ spec: bound }))).rejects.toMatchObject({
      reason: 'NOT_SYNCED',
    });
  });

  it('a removed stack gives its name away for a lost host only where that is known to be lost', async () => {
    const cluster = setUp(['n1', 'n2']);
    await cluster.clock.advance(200);
    const spec = stackSpec('a', [serviceSpec('one', { mode: replicas(2) })]);
    const applied = await cluster.finish(cluster.control('s1').applyStack({ spec }));
    await cluster.clock.advance(1_000);
    cluster.setNode(nodeFacts('n2', { status: NodeStatus.NODE_STATUS_LOST }));
    cluster.stopAgent('n2');
    await cluster.finish(cluster.control('s1').removeStack({ name: 'a' }));
    await cluster.clock.advance(5_000);
    const { stacks } = await cluster.finish(cluster.control('s1').listStacks({}));
    expect(stacks).toMatchObject([{ removing: true, waitingForNodes: ['host-n2'] }]);
    const heal = cluster.rpc.cut('s1', 'registry');
    await cluster.clock.advance(10_000);
    await expect(cluster.finish(cluster.control('s1').applyStack({ spec }))).rejects.toMatchObject({
      reason: 'STACK_REMOVING',
      message: expect.stringContaining('host-n2'),
    });
    heal();
    await cluster.clock.advance(10_000);
    const again = await cluster.finish(cluster.control('s1').applyStack({ spec }));
    expect(again.stack?.id).not.toBe(applied.stack?.id);
    const both = await cluster.finish(cluster.control('s2').listStacks({}));
    expect(both.stacks.map(({ removing }) => removing).sort()).toEqual([false, true]);
  });
});
