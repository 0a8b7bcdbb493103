import { AnnounceEndpointsRequest, NodeStatus } from '@berth/contracts/registry';
import { DesiredState } from '@berth/contracts/workload';
import { MemoryLogger, MemoryStore, SeededRng, settle, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { endpoints } from '../domain/records.ts';
import {
  as,
  assemble,
  clusterId,
  csr,
  describeNode,
  FakeAgent,
  hello,
  nodeCaller,
  operator,
  webEndpoint,
} from './testing.ts';

const { NODE_STATUS_READY, NODE_STATUS_SUSPECT, NODE_STATUS_LOST } = NodeStatus;
/** A clock whose process can stand still: time goes on, timers come late. */
class StallingClock extends VirtualClock {
  #stalledMs = 0;

  override monotonic(): number {
    return super.monotonic() + this.#stalledMs;
  }

  stall(ms: number): void {
    this.#stalledMs += ms;
  }
}

function setUp(options: { readonly replicas?: number } = {}) {
  const clock = new StallingClock();
  const store = new MemoryStore({ clock });
  const log = new MemoryLogger();
  const rng = (seed: number) => new SeededRng(seed);
  return { clock, store, log, ...assemble({ clock, store, log, rng, replicas: options.replicas ?? 1 }) };
}

const setUps: ReturnType<typeof setUp>[] = [];
const make = (options?: Parameters<typeof setUp>[0]) => {
  const made = setUp(options);
  setUps.push(made);
  return made;
};
afterEach(() => {
  for (const { end, failures } of setUps.splice(0)) {
    end.abort();
    expect(failures).toEqual([]);
  }
});

const announcement = (taskIds: readonly string[], partial: Partial<AnnounceEndpointsRequest> = {}) =>
  AnnounceEndpointsRequest.fromPartial({
    full: true,
    endpoints: taskIds.map((taskId) => webEndpoint(taskId)),
    ...partial,
  });

describe('Join', () => {
  it('gives the same key the same node id, and nobody else', async () => {
    const { joinNode, signer, run, catalog } = make();
    const first = await joinNode('k1');
    expect(first).toMatchObject({ clusterId, caPem: 'CA0', members: [] });
    expect((await joinNode('k1')).nodeId).toBe(first.nodeId);
    const other = await joinNode('k2', describeNode({ hostname: 'h2' }));
    expect(other.nodeId).not.toBe(first.nodeId);
    expect(signer.signed.map(({ identity }) => identity)).toEqual([
      `node:${first.nodeId}`,
      `node:${first.nodeId}`,
      `node:${other.nodeId}`,
    ]);
    // Only the first node is a manager by its own word.
    const { nodes } = await run(catalog.listNodes({}, operator));
    expect(nodes.map(({ hostname, manager }) => [hostname, manager])).toEqual([
      ['h1', true],
      ['h2', false],
    ]);
  });

  it('refuses a wrong token, an unknown protocol and another cluster, and makes no node', async () => {
    const { join, run, catalog } = make();
    const ask = (partial: object) =>
      run(
        join.join(
          { tokenSecret: 'secret', csr: csr('k'), node: describeNode(), hello, ...partial },
          as({ role: 'anyone' }),
        ),
      );
    await expect(ask({ tokenSecret: 'wrong' })).rejects.toMatchObject({
      code: 'PermissionDenied',
      reason: 'BAD_TOKEN',
    });
    await expect(ask({ hello: { ...hello, protocolVersion: 9 } })).rejects.toMatchObject({
      reason: 'PROTOCOL_VERSION',
    });
    await expect(ask({ hello: { ...hello, clusterId: 'c2' } })).rejects.toMatchObject({ reason: 'WRONG_CLUSTER' });
    // An address that no certificate can hold would be noticed only when the certificate is renewed.
    for (const bad of [{ hostname: '' }, { address: 'h1.example' }, { address: '' }, { version: 'v'.repeat(65) }]) {
      await expect(ask({ node: describeNode(bad) })).rejects.toMatchObject({ reason: 'BAD_NODE' });
    }
    expect((await run(catalog.listNodes({}, operator))).nodes).toEqual([]);
  });

  it('can be tried again when the signer was away: same id', async () => {
    const { joinNode, signer, store, run, catalog } = make();
    signer.available = false;
    await expect(joinNode('k1')).rejects.toMatchObject({ code: 'Unavailable' });
    expect((await run(catalog.listNodes({}, operator))).nodes).toEqual([]);
    const [claim] = (await store.list('registry/node-key/')).entries;
    signer.available = true;
    const { nodeId } = await joinNode('k1');
    expect(Buffer.from(claim!.value).toString()).toContain(nodeId);
  });

  it('of two that claim to be the first manager at once, one is', async () => {
    const { run, replicas, catalog } = make({ replicas: 2 });
    const ask = (handlers: (typeof replicas)[number]['join'], key: string) =>
      handlers.join(
        { tokenSecret: 'secret', csr: csr(key), node: describeNode({ hostname: key }), hello },
        as({ role: 'anyone' }),
      );
    await run(Promise.all([ask(replicas[0]!.join, 'k1'), ask(replicas[1]!.join, 'k2')]));
    const { nodes } = await run(catalog.listNodes({}, operator));
    expect(nodes.filter(({ manager }) => manager).length).toBe(1);
    expect(nodes.length).toBe(2);
  });

  it('makes a manager of the first that is one, whoever joined before', async () => {
    const { run, joinNode, catalog } = make();
    await joinNode('k1', describeNode({ hostname: 'h1', manager: false }));
    await joinNode('k2', describeNode({ hostname: 'h2' }));
    await joinNode('k3', describeNode({ hostname: 'h3' }));
    const { nodes } = await run(catalog.listNodes({}, operator));
    expect(nodes.filter(({ manager }) => manager).map(({ hostname }) => hostname)).toEqual(['h2']);
  });

  it('two at once with one key make one node', async () => {
    const { join, run, replicas } = make({ replicas: 2 });
    const ask = (handlers: typeof join) =>
      handlers.join({ tokenSecret: 'secret', csr: csr('k'), node: describeNode(), hello }, as({ role: 'anyone' }));
    const [a, b] = await run(Promise.all([ask(replicas[0]!.join), ask(replicas[1]!.join)]));
    expect(a.nodeId).toBe(b.nodeId);
  });
});

describe('Connect', () => {
  it('welcomes with timing, members and epoch; heartbeats reach no store', async () => {
    const { joinNode, presence, clock, store, catalog, run } = make();
    const { nodeId } = await joinNode('k1');
    const agent = new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(1_000);
    expect(agent.received[0]).toMatchObject({ heartbeatIntervalMs: 500, leaseMs: 3_000, epoch: 'epoch-1' });
    expect((await run(catalog.listNodes({}, operator))).nodes[0]).toMatchObject({
      status: NODE_STATUS_READY,
      dispatchSynced: true,
    });
    const before = store.revision;
    await clock.advance(60_000);
    expect(store.revision).toBe(before);
    expect(agent.error).toBeUndefined();
  });

  it('writes the description only when it is new, and keeps labels and the manager role', async () => {
    const { joinNode, presence, clock, registry, store } = make();
    const { nodeId } = await joinNode('k1', describeNode({ labels: { disk: 'ssd' } }));
    new FakeAgent(presence, clock, nodeId, describeNode({ labels: { disk: 'ssd' } })).kill();
    await clock.advance(100);
    const stood = registry.view.nodes.get(nodeId)!.modRevision;
    const heads = (await store.list('registry/node/')).entries[0]!.modRevision;
    expect(stood).toBe(heads);
    const agent = new FakeAgent(
      presence,
      clock,
      nodeId,
      describeNode({ engineVersion: '20.10', manager: false, labels: { disk: 'hdd' } }),
    );
    await clock.advance(500);
    expect(agent.error).toBeUndefined();
    expect(registry.view.node(nodeId)).toMatchObject({
      engineVersion: '20.10',
      manager: true,
      labels: { disk: 'ssd' },
    });
    expect(registry.view.nodes.get(nodeId)!.modRevision).toBeGreaterThan(stood);
  });

  it('refuses strangers, other protocols, and a stream that does not begin with hello', async () => {
    const { presence, clock, joinNode } = make();
    const { nodeId } = await joinNode('k1');
    const stranger = new FakeAgent(presence, clock, 'nobody', describeNode());
    await clock.advance(100);
    expect(stranger.error).toMatchObject({ code: 'PermissionDenied', reason: 'NODE_UNKNOWN' });
    const silent = presence.connect(
      { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) },
      nodeCaller(nodeId),
    );
    const waiting = silent.next();
    waiting.catch(() => {});
    await clock.advance(11_000);
    await expect(waiting).rejects.toMatchObject({ reason: 'NO_HELLO' });
    const agent = new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(100);
    agent.requests.push({ step: { $case: 'hello', value: { hello, node: describeNode() } } });
    await clock.advance(100);
    expect(agent.error).toMatchObject({ code: 'InvalidArgument', reason: 'BAD_STREAM' });
  });

  it('ends the older stream of a node when a newer one comes', async () => {
    const { presence, clock, joinNode, registry } = make();
    const { nodeId } = await joinNode('k1');
    const old = new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(1_000);
    const young = new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(5_000);
    expect(old.ended).toBe(true);
    expect(young.ended).toBe(false);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_READY);
  });

  it('tells a thousand nodes that join of services alone: not each of each other one', async () => {
    const { presence, clock, joinNode, store } = make();
    const agents: FakeAgent[] = [];
    const nodes = 300;
    for (let i = 0; i < nodes; i++) {
      const description = describeNode({ hostname: `h${i}`, manager: i === 0 });
      const { nodeId } = await joinNode(`k${i}`, description);
      agents.push(new FakeAgent(presence, clock, nodeId, description));
    }
    await clock.advance(10_000);
    const [manager, ...others] = agents;
    expect(manager!.members).toHaveLength(nodes);
    for (const agent of others) expect(agent.members).toEqual([]);
    // The interval of heartbeats grows with the cluster, so each hears of that, at most once in 20 nodes.
    const heard = others.reduce((sum, { received }) => sum + received.length, 0);
    expect(heard).toBeLessThan(nodes * (1 + (nodes - 100) / 20 + 1));
    expect(others.at(-1)!.received.at(-1)).toMatchObject({ heartbeatIntervalMs: 1_500, leaseMs: 9_000 });
    // Heartbeats stay in memory, however many there are.
    const before = store.revision;
    await clock.advance(10_000);
    expect(store.revision).toBe(before);
  });

  it('pushes the member list when it changes, and never more than once a second', async () => {
    const { presence, clock, joinNode } = make();
    const { nodeId } = await joinNode('k1');
    const agent = new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(2_000);
    const before = agent.received.length;
    for (let i = 2; i <= 6; i++) await joinNode(`k${i}`, describeNode({ hostname: `h${i}` }));
    await clock.advance(2_000);
    expect(agent.members).toHaveLength(6);
    expect(agent.received.length - before).toBeLessThanOrEqual(2);
  });
});

describe('presence', () => {
  it('suspect after two missed heartbeats, lost when the lease is over; endpoints go and come back', async () => {
    const { presence, clock, joinNode, registry, scheduler, run } = make();
    const { nodeId } = await joinNode('k1');
    const other = await joinNode('k2', describeNode({ hostname: 'h2', address: '198.18.0.2' }));
    const agent = new FakeAgent(presence, clock, nodeId, describeNode());
    new FakeAgent(presence, clock, other.nodeId, describeNode({ hostname: 'h2', address: '198.18.0.2' }));
    scheduler.set('t1', nodeId);
    await clock.advance(1_000);
    await run(presence.announceEndpoints(announcement(['t1']), nodeCaller(nodeId)));
    expect(registry.feed.resources.has('endpoint/n1/t1')).toBe(true);
    agent.beating = false;
    await clock.advance(1_750);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_SUSPECT);
    expect(registry.feed.resources.has('endpoint/n1/t1')).toBe(true);
    await clock.advance(2_000);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_LOST);
    expect(registry.feed.resources.has('endpoint/n1/t1')).toBe(false);
    agent.beating = true;
    await clock.advance(1_000);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_READY);
    expect(registry.feed.resources.has('endpoint/n1/t1')).toBe(true);
    expect(registry.view.node(other.nodeId)?.status).toBe(NODE_STATUS_READY);
  });

  it('a single node whose agent is killed and comes back is never lost', async () => {
    const { presence, clock, joinNode, registry, hosts } = make();
    const { nodeId } = await joinNode('k1');
    const seen = new Set<NodeStatus>();
    registry.feed.onStep(() => seen.add(registry.view.node(nodeId)?.status ?? NodeStatus.NODE_STATUS_UNSPECIFIED));
    for (let i = 0; i < 5; i++) {
      const agent = new FakeAgent(presence, clock, nodeId, describeNode());
      hosts.answers.set('198.18.0.1:7431', 'open');
      await clock.advance(3_000);
      agent.kill();
      hosts.answers.set('198.18.0.1:7431', 'refused');
      await clock.advance(30_000);
    }
    expect(seen).toContain(NODE_STATUS_SUSPECT);
    expect(seen).not.toContain(NODE_STATUS_LOST);
  });

  it('loses no node when the registry itself was killed: the next one counts anew', async () => {
    const first = make();
    const { nodeId } = await first.joinNode('k1');
    const agent = new FakeAgent(first.presence, first.clock, nodeId, describeNode());
    await first.clock.advance(2_000);
    agent.kill();
    first.stop();
    await first.clock.advance(30_000);
    const next = first.start('again', 9);
    await first.clock.advance(2_000);
    new FakeAgent(next.presence, first.clock, nodeId, describeNode());
    await first.clock.advance(10_000);
    expect(next.registry.view.node(nodeId)?.status).toBe(NODE_STATUS_READY);
    expect(first.log.lines.filter(({ fields }) => fields['status'] === NODE_STATUS_LOST)).toEqual([]);
  });

  it('takes its own standing still for nobody’s silence', async () => {
    const { presence, clock, joinNode, registry, log } = make();
    const { nodeId } = await joinNode('k1');
    new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(2_100);
    const before = registry.view.presences.get(nodeId);
    clock.stall(20_000);
    await clock.advance(5_000);
    expect(registry.view.presences.get(nodeId)).toEqual(before);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_READY);
    const told = log.lines.filter(({ message }) => message === 'node status').map(({ fields }) => fields['status']);
    expect(new Set(told)).toEqual(new Set([NODE_STATUS_READY]));
  });

  it('a leader that stood still counts a silence anew', async () => {
    const { presence, clock, joinNode, registry } = make();
    const { nodeId } = await joinNode('k1');
    const agent = new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(2_100);
    agent.beating = false;
    await clock.advance(2_000);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_SUSPECT);
    clock.stall(2_000);
    await clock.advance(2_000);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_SUSPECT);
    await clock.advance(2_000);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_LOST);
  });

  it('another replica leads on when the leader dies, and takes the streams over', async () => {
    const { clock, joinNode, replicas, hosts } = make({ replicas: 2 });
    const { nodeId } = await joinNode('k1');
    hosts.answers.set('198.18.0.1:7431', 'open');
    const agent = new FakeAgent(replicas[0]!.presence, clock, nodeId, describeNode());
    await clock.advance(2_000);
    expect(replicas.map(({ registry }) => registry.leader.leading)).toEqual([true, false]);
    replicas[0]!.stop();
    agent.kill();
    new FakeAgent(replicas[1]!.presence, clock, nodeId, describeNode());
    await clock.advance(10_000);
    expect(replicas[1]!.registry.leader.leading).toBe(true);
    expect(replicas[1]!.registry.view.node(nodeId)?.status).toBe(NODE_STATUS_READY);
  });

  it('survives a store that is away for long, and loses no node over it', async () => {
    const { clock, joinNode, presence, registry, store, log } = make();
    const { nodeId } = await joinNode('k1');
    new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(2_000);
    store.setAvailable(false);
    await clock.advance(60_000);
    store.setAvailable(true);
    await clock.advance(20_000);
    expect(registry.view.node(nodeId)?.status).toBe(NODE_STATUS_READY);
    expect(registry.leader.leading).toBe(true);
    expect(log.lines.filter(({ fields }) => fields['status'] === NODE_STATUS_LOST)).toEqual([]);
  });
});

describe('endpoints', () => {
  it('are served as soon as the scheduler wants the task there, and withdrawn at once when it no longer does', async () => {
    const { presence, clock, joinNode, registry, scheduler, run } = make();
    const { nodeId } = await joinNode('k1');
    new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advance(500);
    await run(presence.announceEndpoints(announcement(['t1', 't2']), nodeCaller(nodeId)));
    expect(registry.feed.ofScope('network.n1')).toEqual([]);
    scheduler.set('t1', nodeId);
    scheduler.set('t2', 'another-node');
    await settle();
    await clock.advance(10);
    expect(registry.feed.ofScope('network.n1').map(({ key }) => key)).toEqual(['endpoint/n1/t1']);
    scheduler.set('t1', nodeId, DesiredState.DESIRED_STATE_SHUTDOWN);
    await settle();
    await clock.advance(10);
    expect(registry.feed.ofScope('network.n1')).toEqual([]);
  });

  it('decided by a replica that knew less are put right by the leader at once', async () => {
    const { clock, joinNode, presence, registry, scheduler, store } = make();
    const { nodeId } = await joinNode('k1');
    new FakeAgent(presence, clock, nodeId, describeNode());
    scheduler.set('t1', nodeId);
    await clock.advance(500);
    const record = { endpoint: webEndpoint('t1', { nodeId }), serving: false };
    await store.txn({
      compares: [],
      ops: [{ kind: 'put', key: endpoints.keyOf(record), value: endpoints.encode(record) }],
    });
    await clock.advance(10);
    expect(registry.feed.resources.has('endpoint/n1/t1')).toBe(true);
  });

  it('stay as they are while the mirror of the scheduler is not synced', async () => {
    const { presence, clock, joinNode, registry, scheduler, run } = make();
    const { nodeId } = await joinNode('k1');
    new FakeAgent(presence, clock, nodeId, describeNode());
    scheduler.set('t1', nodeId);
    await clock.advance(500);
    await run(presence.announceEndpoints(announcement(['t1']), nodeCaller(nodeId)));
    scheduler.setConnected(false);
    scheduler.remove('t1');
    await clock.advance(30_000);
    expect(registry.feed.resources.has('endpoint/n1/t1')).toBe(true);
    scheduler.setConnected(true);
    await clock.advance(5_000);
    expect(registry.feed.resources.has('endpoint/n1/t1')).toBe(false);
  });

  it('are looked at again as soon as the mirror of the scheduler is whole again, though nothing has changed there', async () => {
    const { clock, joinNode, registry, scheduler, store } = make();
    const { nodeId } = await joinNode('k1');
    await clock.advance(12_000);
    scheduler.setConnected(false);
    await clock.advance(10);
    const record = { endpoint: webEndpoint('t1', { nodeId }), serving: true };
    const key = endpoints.keyOf(record);
    await store.txn({ compares: [], ops: [{ kind: 'put', key, value: endpoints.encode(record) }] });
    const serving = () => registry.view.endpoints.at(key)?.value.serving;
    // Longer than until the next look at all endpoints: while the mirror is not whole, absence proves nothing.
    await clock.advance(10_500);
    expect(serving()).toBe(true);
    scheduler.setConnected(true);
    // Sooner than the next one is due.
    await clock.advance(3_000);
    expect(serving()).toBe(false);
  });

  it('write nothing that already stands, and answer with the revision of the last write', async () => {
    const { presence, clock, joinNode, scheduler, store, run } = make();
    const { nodeId } = await joinNode('k1');
    for (let i = 0; i < 300; i++) scheduler.set(`t${i}`, nodeId);
    await clock.advance(500);
    const ids = Array.from({ length: 200 }, (_, i) => `t${i}`);
    const first = await run(presence.announceEndpoints(announcement(ids), nodeCaller(nodeId)));
    expect(first.revision?.revision).toBe(store.revision);
    await run(presence.announceEndpoints(announcement(ids), nodeCaller(nodeId)));
    expect(store.revision).toBe(first.revision?.revision);
    // What is gone leaves nothing behind, not even the head of its network.
    await run(presence.announceEndpoints(announcement([]), nodeCaller(nodeId)));
    expect((await store.list('registry/endpoint/')).entries).toEqual([]);
    expect((await store.list('registry/head/network')).entries).toEqual([]);
  });

  it('of two nodes that withdraw their last at once leave no head of their network either', async () => {
    const { presence, clock, joinNode, scheduler, store, run } = make();
    const nodes = [await joinNode('k1'), await joinNode('k2')];
    const withdraw = async (index: number, taskIds: string[]) =>
      presence.announceEndpoints(announcement(taskIds), nodeCaller(nodes[index]?.nodeId ?? ''));
    for (const [index, { nodeId }] of nodes.entries()) {
      scheduler.set(`t${index}`, nodeId);
      await clock.advance(500);
      await run(withdraw(index, [`t${index}`]));
    }
    expect((await store.list('registry/head/network')).entries).toHaveLength(1);
    // What another replica's withdrawal leaves, when it counts an endpoint that is being withdrawn here.
    const { entries } = await store.list('registry/endpoint/');
    await store.txn({ compares: [], ops: entries.map(({ key }) => ({ kind: 'delete', key })) });
    await clock.advance(11_000);
    expect((await store.list('registry/head/network')).entries).toEqual([]);
  });
});

describe('members', () => {
  const member = (instance: string, address = '127.0.0.1:7411') => ({
    identity: 'service:operator',
    instance,
    address,
    hostname: 'h1',
    version: '1',
  });
  const scheduler = (signal: AbortSignal) => as({ role: 'service', name: 'scheduler' }, signal);

  it('stand as long as their stream lives; the identity is the caller’s', async () => {
    const { presence, clock, registry, catalog, run } = make();
    const end = new AbortController();
    const stream = presence.announceMember({ hello, member: member('i1') }, scheduler(end.signal));
    const read = (async () => {
      for await (const _ of stream) void _;
    })();
    await clock.advance(2_000);
    expect((await run(catalog.listMembers({}, operator))).members).toMatchObject([
      { identity: 'service:scheduler', instance: 'i1' },
    ]);
    end.abort();
    await clock.advance(100);
    await read;
    expect(registry.view.memberList()).toEqual([]);
    const changes = await run(catalog.changes({ scope: 'node.control-plane', since: undefined }, operator));
    expect(changes.head?.revision).toBeGreaterThan(0);
  });

  it('are replaced by the next instance at their address', async () => {
    const { presence, clock, registry } = make();
    const end = new AbortController();
    const stream = (instance: string) =>
      presence.announceMember({ hello, member: member(instance) }, scheduler(end.signal));
    void stream('i1').next();
    await clock.advance(2_000);
    // i1's process dies without a word: its stream still looks alive.
    void stream('i2').next();
    const listed = () => registry.view.memberList().map(({ instance }) => instance);
    for (const _ of Array(20)) {
      await clock.advance(200);
      expect(listed()).toEqual(['i2']);
    }
    end.abort();
  });

  it('two replicas of each service are listed side by side, and each goes alone', async () => {
    const { replicas, clock, run, catalog } = make({ replicas: 2 });
    const ends: AbortController[] = [];
    const announce = (name: string, replica: number, address: string) => {
      const end = new AbortController();
      ends.push(end);
      const caller = as({ role: 'service', name }, end.signal);
      const announced = { ...member(`${name} ${address}`, address), identity: '' };
      const stream = replicas[replica]!.presence.announceMember({ hello, member: announced }, caller);
      void (async () => {
        for await (const _ of stream) void _;
      })();
    };
    announce('scheduler', 0, '198.18.0.1:7411');
    announce('scheduler', 1, '198.18.0.1:7511');
    announce('network-manager', 1, '198.18.0.1:7421');
    announce('network-manager', 1, '198.18.0.1:7521');
    const own = new AbortController();
    for (const [i, { registry }] of replicas.entries()) {
      const address = `198.18.0.1:7${4 + i}01`;
      void registry.keepMember({ ...member(`registry ${i}`, address), identity: 'service:registry' }, own.signal);
    }
    await clock.advance(10_000);
    const listed = async () =>
      (await run(catalog.listMembers({}, operator))).members.map(({ identity, address }) => `${identity} ${address}`);
    const six = [
      'service:network-manager 198.18.0.1:7421',
      'service:network-manager 198.18.0.1:7521',
      'service:registry 198.18.0.1:7401',
      'service:registry 198.18.0.1:7501',
      'service:scheduler 198.18.0.1:7411',
      'service:scheduler 198.18.0.1:7511',
    ];
    expect((await listed()).sort()).toEqual(six);
    ends[1]!.abort();
    await clock.advance(2_000);
    expect((await listed()).sort()).toEqual(six.slice(0, 5));
    for (const end of [...ends, own]) end.abort();
    await clock.advance(500);
  });

  it('shared ones are listed once by whichever replica lives', async () => {
    const { clock, registry, replicas, end, start, stop } = make({ replicas: 2 });
    const nats = { ...member('nats 127.0.0.1:7451', '127.0.0.1:7451'), identity: 'service:nats' };
    const listed = () => registry.view.memberList().map(({ address }) => address);
    const holder = () => registry.view.members.get(nats.identity, nats.instance);
    for (const one of replicas) void one.registry.keepSharedMember(nats, end.signal);
    await clock.advance(5_000);
    expect(listed()).toEqual(['127.0.0.1:7451']);
    const first = holder();
    await clock.advance(5_000);
    expect(holder()).toEqual(first);
    // Whoever holds it stops; another takes over before anybody misses it.
    stop();
    const next = start('next', 9).registry;
    void next.keepSharedMember(nats, end.signal);
    await clock.advance(30_000);
    expect(next.view.memberList().map(({ address }) => address)).toEqual(['127.0.0.1:7451']);
    expect(next.view.members.get(nats.identity, nats.instance)?.value.replica).not.toBe('replica0');
  });

  it('outlive a restart of the registry, and are cleared when nobody comes back', async () => {
    const { presence, clock, registry, stop, start } = make();
    const end = new AbortController();
    void presence.announceMember({ hello, member: member('i1') }, scheduler(end.signal)).next();
    await clock.advance(2_000);
    stop();
    end.abort();
    await clock.advance(3_000);
    const next = start('again', 7);
    await clock.advance(3_000);
    expect(next.registry.view.memberList().map(({ instance }) => instance)).toEqual(['i1']);
    await clock.advance(12_000);
    expect(next.registry.view.memberList()).toEqual([]);
    expect(registry.leader.leading).toBe(false);
  });
});

describe('certificates', () => {
  it('are issued for people by role and name, listed, and renewed for their holder alone', async () => {
    const { certificates, signer, run, joinNode, clock } = make();
    const { nodeId } = await joinNode('k1');
    await run(certificates.issueCertificate({ csr: csr('k2'), role: 'subscriber', name: 'ci' }, operator));
    await run(certificates.renewCertificate({ csr: csr('k1') }, nodeCaller(nodeId)));
    expect(signer.signed).toEqual([
      { identity: `node:${nodeId}`, addresses: ['198.18.0.1'] },
      { identity: 'subscriber:ci', addresses: [] },
      { identity: `node:${nodeId}`, addresses: ['198.18.0.1'] },
    ]);
    const list = async () => (await run(certificates.listCertificates({}, operator))).certificates;
    expect((await list()).map(({ identity }) => identity).sort()).toEqual([
      `node:${nodeId}`,
      `node:${nodeId}`,
      'subscriber:ci',
    ]);
    clock.setWall(1_767_225_600_000 + 91 * 86_400_000);
    expect(await list()).toEqual([]);
  });

  it.each([
    { role: 'node', name: 'x', reason: 'BAD_ROLE' },
    { role: 'service', name: 'scheduler', reason: 'BAD_ROLE' },
    { role: 'operator', name: 'a.b', reason: 'BAD_NAME' },
    { role: 'operator', name: '', reason: 'BAD_NAME' },
    { role: 'operator', name: 'a'.repeat(33), reason: 'BAD_NAME' },
  ])('are refused: $role:$name', async ({ role, name, reason }) => {
    const { certificates, run } = make();
    await expect(run(certificates.issueCertificate({ csr: csr('k'), role, name }, operator))).rejects.toMatchObject({
      reason,
    });
  });

  it('are not renewed for a node that does not belong here', async () => {
    const { certificates, run } = make();
    await expect(run(certificates.renewCertificate({ csr: csr('k') }, nodeCaller('x')))).rejects.toMatchObject({
      code: 'PermissionDenied',
      reason: 'NODE_UNKNOWN',
    });
  });

  it('a token more is valid beside those before it, for its time', async () => {
    const { certificates, clock, run, joinNode, join, store } = make();
    await expect(run(certificates.createToken({ ttlMs: 59_999 }, operator))).rejects.toMatchObject({
      reason: 'BAD_TTL',
    });
    const { token, expiresAtMs } = await run(certificates.createToken({ ttlMs: 60_000 }, operator));
    expect({ token, expiresAtMs }).toEqual({ token: 'token-new', expiresAtMs: clock.wall() + 60_000 });
    await joinNode('k1');
    const ask = (key: string) =>
      run(join.join({ tokenSecret: 'new', csr: csr(key), node: describeNode(), hello }, as({ role: 'anyone' })));
    expect((await ask('k2')).nodeId).not.toBe('');
    await clock.advance(60_000);
    await expect(ask('k3')).rejects.toMatchObject({ code: 'PermissionDenied', reason: 'BAD_TOKEN' });
    // What has ended goes when another is made.
    const rest = async () => (await store.list('registry/token/')).entries.length;
    expect(await rest()).toBe(2);
    await run(certificates.createToken({ ttlMs: 0 }, operator));
    expect(await rest()).toBe(2);
  });

  it('a rotated token replaces the old one', async () => {
    const { certificates, run, joinNode, join } = make();
    expect(await run(certificates.rotateToken({}, operator))).toEqual({ token: 'token-new' });
    await expect(joinNode('k1')).rejects.toMatchObject({ reason: 'BAD_TOKEN' });
    const request = { tokenSecret: 'new', csr: csr('k1'), node: describeNode(), hello };
    expect((await run(join.join(request, as({ role: 'anyone' })))).nodeId).not.toBe('');
  });
});

describe('a store that is full', () => {
  it('ends no replica: what stands is served, and the rest goes on once there is room', async () => {
    const { clock, store, joinNode, presence, registry, catalog, run } = make();
    const { nodeId } = await joinNode('k1');
    const agent = new FakeAgent(presence, clock, nodeId, describeNode());
    await clock.advanceUntil(() => registry.view.node(nodeId)?.status === NODE_STATUS_READY);
    const keeping = new AbortController();
    const member = { identity: 'service:scheduler', instance: 'i1', address: 'a:1', hostname: '', version: '' };
    store.setFull(true);
    const kept = registry.keepMember(member, keeping.signal);
    agent.beating = false;
    // The replica loses its lease on top of it, and gets no new one.
    for (const key of ['registry/replica/replica0', 'registry/leader/presence']) {
      const lease = store.leaseOf(key);
      if (lease) store.expire(lease);
    }
    await clock.advance(5_000);
    expect((await run(catalog.listNodes({}, operator))).nodes).toHaveLength(1);
    store.setFull(false);
    agent.beating = true;
    await clock.advanceUntil(
      () =>
        registry.view.node(nodeId)?.status === NODE_STATUS_READY &&
        registry.view.memberList().some(({ identity }) => identity === 'service:scheduler'),
    );
    agent.kill();
    keeping.abort();
    await run(kept);
  });
});
