import { AnnounceEndpointsRequest, NodeStatus } from '@berth/contracts/registry';
import { DesiredState } from '@berth/contracts/workload';
import { MemoryLogger, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { assemble, describeNode, FakeAgent, nodeCaller, operator, webEndpoint } from './testing.ts';

const { NODE_STATUS_READY, NODE_STATUS_SUSPECT, NODE_STATUS_LOST, NODE_STATUS_LEFT } = NodeStatus;

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

function make(replicas = 1) {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  const log = new MemoryLogger();
  const made = assemble({ clock, store, log, rng: (seed) => new SeededRng(seed), replicas });
  ends.push(() => {
    made.end.abort();
    expect(made.failures).toEqual([]);
  });
  return { clock, store, ...made };
}

/** A manager h1 and workers h2…, each with its agent. */
async function cluster(hosts: number, replicas = 1) {
  const made = make(replicas);
  const nodes: { id: string; agent: FakeAgent; address: string }[] = [];
  for (let i = 1; i <= hosts; i++) {
    const address = `198.18.0.${i}`;
    const description = describeNode({ hostname: `h${i}`, address, manager: i === 1 });
    const { nodeId } = await made.joinNode(`k${i}`, description);
    const { presence } = made.replicas[i % replicas]!;
    nodes.push({ id: nodeId, agent: new FakeAgent(presence, made.clock, nodeId, description), address });
  }
  await made.clock.advance(2_000);
  const statusOf = (i: number) => made.registry.view.nodeStatus(nodes[i - 1]!.id);
  return { ...made, list: nodes, statusOf };
}

const remove = (nodeId: string, force = false) => ({ nodeId, force });
const update = (nodeId: string, setLabels: Record<string, string>, removeLabels: string[] = []) => ({
  nodeId,
  setLabels,
  removeLabels,
});

describe('UpdateNode', () => {
  it('sets and removes labels, by id, beginning of an id or host name; the same again writes nothing', async () => {
    const { nodes, run, list, store } = await cluster(2);
    const [, second] = list;
    const labelsOf = async (ref: string, ...change: [Record<string, string>, string[]?]) =>
      (await run(nodes.updateNode(update(ref, ...change), operator))).node?.labels;
    expect(await labelsOf('h2', { zone: 'a', 'example.com/disk': 'ssd' })).toEqual({
      zone: 'a',
      'example.com/disk': 'ssd',
    });
    expect(await labelsOf(second!.id, { zone: 'b' }, ['example.com/disk', 'unknown'])).toEqual({ zone: 'b' });
    const before = store.revision;
    expect(await labelsOf(second!.id.slice(0, 8), { zone: 'b' })).toEqual({ zone: 'b' });
    expect(store.revision).toBe(before);
  });

  it.each([
    ['BAD_LABEL', 'h1', { 'no spaces': 'x' }, []],
    ['BAD_LABEL', 'h1', { '': 'x' }, []],
    ['BAD_LABEL', 'h1', { zone: 'a\nb' }, []],
    ['BAD_LABEL', 'h1', { zone: 'a' }, ['zone']],
    ['BAD_LABEL', 'h1', Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, ''])), []],
    ['NO_SUCH_NODE', 'h9', {}, []],
    ['NO_SUCH_NODE', '', {}, []],
  ])('refuses with %s', async (reason, ref, set, removed) => {
    const { nodes, run } = await cluster(1);
    const call = nodes.updateNode(update(ref, set as Record<string, string>, removed), operator);
    await expect(run(call)).rejects.toMatchObject({ reason });
  });

  it('refuses a host name that two nodes have', async () => {
    const { nodes, run, joinNode } = await cluster(1);
    await joinNode('other', describeNode({ hostname: 'h1', address: '198.18.0.9' }));
    await expect(run(nodes.updateNode(update('h1', {}), operator))).rejects.toMatchObject({ reason: 'AMBIGUOUS' });
  });
});

describe('RemoveNode', () => {
  it('tells the agent, withdraws what it announced, and takes neither id nor key again', async () => {
    const { nodes, run, list, scheduler, replicas, clock, registry, store, joinNode, catalog, presence } =
      await cluster(3, 2);
    const { id, agent } = list[1]!;
    scheduler.set('t1', id);
    await clock.advance(500);
    const announce = AnnounceEndpointsRequest.fromPartial({ full: true, endpoints: [webEndpoint('t1')] });
    await run(replicas[1]!.presence.announceEndpoints(announce, nodeCaller(id)));
    await expect(run(nodes.removeNode(remove('h2'), operator))).rejects.toMatchObject({ reason: 'NODE_HAS_TASKS' });

    // Drained: its task is to stop.
    scheduler.set('t1', id, DesiredState.DESIRED_STATE_SHUTDOWN);
    await clock.advance(500);
    const { node } = await run(nodes.removeNode(remove('h2'), operator));
    expect(node).toMatchObject({ id, status: NODE_STATUS_LEFT, dispatchSynced: false });
    await clock.advance(1_000);
    expect(agent.received.at(-1)).toMatchObject({ removed: true, members: [] });
    expect(agent.ended).toBe(true);
    expect(agent.error).toBeUndefined();
    expect(registry.view.endpoints.size).toBe(0);
    expect(registry.view.memberList().map(({ identity }) => identity)).not.toContain(`node:${id}`);
    expect((await store.list('registry/status/')).entries).toHaveLength(2);

    // Again, and by whoever else comes with what is left of it.
    expect((await run(nodes.removeNode(remove(id), operator))).node?.status).toBe(NODE_STATUS_LEFT);
    await expect(joinNode('k2')).rejects.toMatchObject({ code: 'PermissionDenied', reason: 'NODE_LEFT' });
    await expect(run(presence.announceEndpoints(announce, nodeCaller(id)))).rejects.toMatchObject({
      reason: 'NODE_LEFT',
    });
    const late = new FakeAgent(presence, clock, id, describeNode({ hostname: 'h2' }));
    await clock.advance(5_000);
    expect(late.received).toMatchObject([{ removed: true }]);
    const { nodes: listed } = await run(catalog.listNodes({}, operator));
    expect(listed.map(({ hostname, status }) => [hostname, status])).toEqual([
      ['h1', NODE_STATUS_READY],
      ['h2', NODE_STATUS_LEFT],
      ['h3', NODE_STATUS_READY],
    ]);
  });

  it('refuses a manager always, and what has tasks unless it is lost or forced', async () => {
    const { nodes, run, list, scheduler, clock, statusOf } = await cluster(4);
    await expect(run(nodes.removeNode(remove('h1', true), operator))).rejects.toMatchObject({
      reason: 'NODE_IS_MANAGER',
    });
    scheduler.set('t1', list[1]!.id);
    scheduler.set('t2', list[2]!.id);
    await clock.advance(500);
    list[1]!.agent.kill();
    await clock.advance(5_000);
    expect(statusOf(2)).toBe(NODE_STATUS_LOST);
    expect((await run(nodes.removeNode(remove('h2'), operator))).node?.status).toBe(NODE_STATUS_LEFT);
    expect((await run(nodes.removeNode(remove('h3', true), operator))).node?.status).toBe(NODE_STATUS_LEFT);
  });

  it('does not guess while the tasks are not known', async () => {
    const { nodes, run, scheduler, clock } = await cluster(2);
    scheduler.setConnected(false);
    await clock.advance(500);
    await expect(run(nodes.removeNode(remove('h2'), operator))).rejects.toMatchObject({ code: 'Unavailable' });
  });
});

describe('Resume', () => {
  it('shows the brake, and lets those go that it held, over a change of the leader', async () => {
    const { run, list, clock, statusOf, replicas } = await cluster(4, 2);
    for (const { agent } of list.slice(1)) agent.kill();
    await clock.advance(10_000);
    const leader = replicas.find(({ registry }) => registry.leader.leading)!;
    const other = replicas.find((replica) => replica !== leader)!;
    const held = list.slice(1).map(({ id }) => id);
    const shown = async () => (await run(other.catalog.listNodes({}, operator))).brake?.nodeIds;
    expect((await shown())?.toSorted()).toEqual(held.toSorted());
    leader.stop();
    await clock.advance(20_000);
    expect(other.registry.leader.leading).toBe(true);
    expect((await shown())?.toSorted()).toEqual(held.toSorted());
    expect([2, 3, 4].map(statusOf)).toEqual(Array(3).fill(NODE_STATUS_SUSPECT));

    expect((await run(other.nodes.resume({}, operator))).nodeIds).toHaveLength(3);
    await clock.advance(2_000);
    const after = await run(other.catalog.listNodes({}, operator));
    expect(after.brake).toBeUndefined();
    expect(after.nodes.map(({ status }) => status)).toEqual([NODE_STATUS_READY, ...Array(3).fill(NODE_STATUS_LOST)]);
    expect((await run(other.nodes.resume({}, operator))).nodeIds).toEqual([]);
  });
});
