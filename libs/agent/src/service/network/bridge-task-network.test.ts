import type { LeaseBlockRequest, ReleaseBlockRequest } from '@berth/contracts/network';
import { Lease, LeaseBlockResponse, Network } from '@berth/contracts/network';
import { BerthError } from '@berth/kernel';
import { MemoryLogger, VirtualClock } from '@berth/memory';
import { expect, it } from 'vitest';
import { DnsTable } from '../../domain/dns/dns-table.ts';
import { blockOf, labelsOf } from '../../domain/network/blocks.ts';
import { noFirewall } from '../../domain/network/firewall.ts';
import type { EngineNetwork, EngineNetworkSpec } from '../../domain/task-network.ts';
import { BridgeTaskNetwork } from './bridge-task-network.ts';
import { HostNetwork } from './host-network.ts';

const signal = new AbortController().signal;
const noKernel = { devices: new Map(), neighbours: new Map(), forwards: new Map(), routes: new Map() };

/** A host with an engine, and a network-manager with blocks for everyone. */
function setUp() {
  const clock = new VirtualClock();
  const engine = new Map<string, EngineNetworkSpec>();
  /** Engine networks that a container of somebody else is connected to. */
  const foreign = new Set<string>();
  const leased: string[] = [];
  /** True: the network-manager is away. */
  const manager = {
    away: false,
    /** It leases, but nobody hears of it. */
    mute: false,
    silentReleases: false,
    held: [] as Lease[],
    asked: [] as LeaseBlockRequest[],
    /** Which network has a name now: the end of its id. */
    network: { id: '', internal: false },
    /** By network: the block that a node holds already. */
    known: new Map<string, string>(),
  };
  /** True: the engine is away. */
  const broken = { engine: false, nameServer: '' };
  const engineAnswers = (): void => {
    if (broken.engine) throw new BerthError('Unavailable', 'no engine', { reason: 'ENGINE_UNAVAILABLE' });
  };
  const listening = new Set<string>();
  const rules: string[] = [];
  const address = { address: '198.18.0.11', vxlanPort: 7461 };
  const nameServer = {
    get addresses() {
      return [...listening];
    },
    async listen(ip: string) {
      if (broken.nameServer === ip) throw new BerthError('Unavailable', 'taken', { reason: 'DNS_ADDRESS' });
      listening.add(ip);
    },
    close: async (ip: string) => void listening.delete(ip),
  };
  const network = new BridgeTaskNetwork({
    clock,
    log: new MemoryLogger(),
    dns: new DnsTable(),
    onNetworks: () => {},
    client: {
      async leaseBlock(request) {
        if (manager.away) {
          await clock.sleep(3_000);
          throw new BerthError('Unavailable', 'nobody answers');
        }
        const { stackId = '', network: name = '', fullBlocks = [] } = request as LeaseBlockRequest;
        manager.asked.push(request as LeaseBlockRequest);
        const { internal } = manager.network;
        const id = `${stackId}${name}${manager.network.id}`;
        const held = manager.known.get(id);
        if (held !== undefined && !fullBlocks.includes(held)) {
          const lease = { networkId: id, block: held };
          return LeaseBlockResponse.fromPartial({ network: { id, stackId, name, internal }, lease });
        }
        const block = `10.64.${leased.length}.0/26`;
        leased.push(block);
        if (manager.mute) {
          manager.held.push(Lease.fromPartial({ networkId: id, block }));
          throw new BerthError('DeadlineExceeded', 'no answer in time');
        }
        manager.known.set(id, block);
        const network = { id, stackId, name, internal };
        return LeaseBlockResponse.fromPartial({ network, lease: { networkId: id, block } });
      },
      async releaseBlock(request) {
        if (manager.silentReleases) throw new BerthError('Unavailable', 'nobody answers');
        const { block, networkId = '' } = request as ReleaseBlockRequest;
        leased.splice(leased.indexOf(block), 1, '');
        if (manager.known.get(networkId) === block) manager.known.delete(networkId);
        return {};
      },
      async listLeases() {
        const networks = manager.held.map(({ networkId }) =>
          Network.fromPartial({ id: networkId, stackId: 's1', name: 'default' }),
        );
        return { leases: manager.held, networks };
      },
    },
    engine: {
      async list() {
        engineAnswers();
        return [...engine.values()].map((spec): EngineNetwork => ({ ...spec, id: spec.name, containers: [] }));
      },
      async create(spec) {
        engineAnswers();
        engine.set(spec.name, spec);
      },
      async remove(name) {
        engineAnswers();
        if (foreign.has(name)) throw new BerthError('Conflict', `${name} is in use`, { reason: 'NETWORK_IN_USE' });
        engine.delete(name);
      },
    },
    host: new HostNetwork({
      clusterId: 'c1',
      host: address,
      kernel: {
        read: async () => ({ link: undefined, state: noKernel }),
        apply: async () => {},
      },
      // What is asked for is not remembered: the diff has tests of its own.
      firewall: {
        async read() {
          rules.push('absent');
          return noFirewall;
        },
        apply: async ({ table }) => void rules.push(table),
      },
      nameServer,
      log: new MemoryLogger(),
      leasesOf: () => [],
      parts: () => ({ addresses: [], ports: [] }),
    }),
    address,
    nameServer,
  });
  const prepare = (taskId: string, stackId: string, internal = false) =>
    network.prepare(
      {
        taskId,
        stackId,
        attachments: [{ network: 'default', spec: { name: 'default', driverOpts: {}, internal, externalName: '' } }],
      },
      signal,
    );
  return { clock, engine, foreign, leased, listening, manager, network, prepare, rules, broken };
}

it('a task gets bridge, address and name server; with the last task all of it goes, and the block is handed back', async () => {
  const { clock, engine, leased, listening, network, prepare } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await network.adopt([]);
  const first = await prepare('t1', 's1');
  const second = await prepare('t2', 's1');
  expect(await prepare('t1', 's1')).toEqual(first);
  expect(second.joins[0]).toMatchObject({ dockerNetwork: first.joins[0]?.dockerNetwork });
  expect(second.joins[0]?.ip).not.toBe(first.joins[0]?.ip);
  expect([...listening]).toEqual(first.dnsServers);
  await network.release('t1');
  expect(engine.size).toBe(1);
  await network.release('t2');
  await clock.advance(2_000);
  expect([engine.size, listening.size, leased]).toEqual([0, 0, ['']]);
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it('a restart in place does not queue behind those who wait for a network-manager', async () => {
  const { clock, manager, network, prepare } = setUp();
  await network.adopt([]);
  const first = await prepare('t1', 's1');
  manager.away = true;
  const waiting = prepare('t2', 's2').catch((error: unknown) => error);
  expect(await prepare('t1', 's1')).toEqual(first);
  await clock.advance(3_000);
  expect(await waiting).toMatchObject({ code: 'Unavailable' });
});

it("somebody else's container on a network keeps that network alone; tasks and other networks go", async () => {
  const { clock, engine, foreign, listening, network, prepare } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await network.adopt([]);
  const [kept] = (await prepare('t1', 's1')).joins;
  await prepare('t2', 's2');
  foreign.add(kept?.dockerNetwork ?? '');
  await network.release('t1');
  await network.release('t2');
  expect([...engine.keys()]).toEqual([kept?.dockerNetwork]);
  await clock.advance(20_000);
  expect(listening.size).toBe(1);
  foreign.clear();
  await clock.advance(6_000);
  expect([engine.size, listening.size]).toEqual([0, 0]);
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it('a release whose end is not known comes to its end before the network is leased anew', async () => {
  const { clock, engine, leased, manager, network, prepare } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await network.adopt([]);
  await prepare('t1', 's1');
  manager.silentReleases = true;
  await network.release('t1');
  await clock.advance(2_000);
  await expect(prepare('t2', 's1')).rejects.toMatchObject({ code: 'Unavailable' });
  expect(manager.asked).toHaveLength(1);
  manager.silentReleases = false;
  await prepare('t2', 's1');
  expect([manager.asked.length, leased.filter(Boolean).length, engine.size]).toEqual([2, 1, 1]);
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it('an agent that starts hands back what is not on its host, and says anew where it is reached', async () => {
  const { clock, leased, manager, network, prepare } = setUp();
  await network.adopt([]);
  await prepare('t1', 's1');
  const held = (block: string, address: string) =>
    Lease.fromPartial({ networkId: 's1default', block, address, vxlanPort: 7461 });
  manager.held = [held('10.64.0.0/26', '198.18.0.99'), held('10.64.9.0/26', '198.18.0.11')];
  leased.push('10.64.9.0/26');
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await clock.advance(2_000);
  expect(leased).not.toContain('10.64.9.0/26');
  expect(manager.asked.at(-1)).toMatchObject({
    network: 'default',
    address: '198.18.0.11',
    vxlanPort: 7461,
    fullBlocks: ['10.64.9.0/26'],
  });
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it.each([false, true])(
  'an engine that is away holds up no healing (a network is to be removed: %s)',
  async (unused) => {
    const { broken, clock, engine, foreign, network, prepare, rules } = setUp();
    const abort = new AbortController();
    const running = network.run(abort.signal);
    await network.adopt([]);
    await prepare('t1', 's1');
    if (unused) {
      const [other] = (await prepare('t2', 's2')).joins;
      foreign.add(other?.dockerNetwork ?? '');
      await network.release('t2');
    }
    broken.engine = true;
    await clock.advance(20_000);
    const looks = rules.length;
    await clock.advance(9_000);
    expect(rules.length).toBeGreaterThanOrEqual(looks + 4);
    broken.engine = false;
    engine.clear();
    await clock.advance(20_000);
    expect(engine.size).toBe(unused ? 2 : 1);
    abort.abort();
    await clock.advance(20_000);
    await running;
  },
);

it('a block whose lease was never answered, and that nobody wants any more, is handed back', async () => {
  const { clock, leased, manager, network, prepare } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await network.adopt([]);
  await clock.advance(2_000);
  manager.mute = true;
  await expect(prepare('t1', 's1')).rejects.toMatchObject({ code: 'DeadlineExceeded' });
  await network.release('t1');
  expect(leased).toEqual(['10.64.0.0/26']);
  await clock.advance(10_000);
  expect(leased).toEqual(['']);
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it('a network without a name server waits for it; the others go on', async () => {
  const { broken, clock, network, prepare } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  broken.nameServer = '10.64.0.1';
  await network.adopt([]);
  await expect(prepare('t1', 's1')).rejects.toMatchObject({ reason: 'DNS_ADDRESS' });
  expect((await prepare('t2', 's2')).dnsServers).toEqual(['10.64.1.1']);
  broken.nameServer = '';
  expect((await prepare('t1', 's1')).dnsServers).toEqual(['10.64.0.1']);
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it('resolves as settled when the host has been looked at, with nothing left after the last task', async () => {
  const { network, prepare, rules } = setUp();
  await network.adopt([]);
  await prepare('t1', 's1');
  await network.release('t1');
  await network.settled(signal);
  expect(rules.at(-1)).toBe('absent');
});

it('a silent network-manager holds up neither healing nor the end of a task', async () => {
  const { clock, engine, manager, network, prepare, rules } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await network.adopt([]);
  await prepare('t1', 's1');
  await prepare('t2', 's2');
  manager.away = true;
  manager.silentReleases = true;
  const waiting = Array.from({ length: 5 }, (_, i) => prepare(`w${i}`, `x${i}`).catch(() => undefined));
  const looks = rules.length;
  let released = false;
  void network.release('t2').then(() => {
    released = true;
  });
  await clock.advance(100);
  expect([released, engine.size]).toEqual([true, 1]);
  await clock.advance(3_900);
  expect(rules.length).toBeGreaterThan(looks + 2);
  await Promise.all(waiting);
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it('tasks that want one network at once get one block, and another when it is full', async () => {
  const { leased, manager, network, prepare } = setUp();
  await network.adopt([]);
  const all = await Promise.all(Array.from({ length: 70 }, (_, i) => prepare(`t${i}`, 's1')));
  expect(new Set(all.map(({ joins }) => joins[0]?.ip)).size).toBe(70);
  expect([leased.length, manager.asked.length]).toEqual([2, 2]);
});

it('of two networks of one name a new task is on the one its stack declares now; a restarted one stays where it was', async () => {
  const { manager, network, prepare } = setUp();
  await network.adopt([]);
  const old = await prepare('t1', 's1');
  // Dropped from the file and declared again as another one: nothing of it is on this host yet.
  manager.network = { id: 'v3', internal: true };
  const moved = await prepare('t2', 's1', true);
  expect(moved.joins[0]?.networkId).toBe('s1defaultv3');
  expect(await prepare('t1', 's1')).toEqual(old);
  expect((await prepare('t3', 's1', true)).joins[0]?.networkId).toBe('s1defaultv3');
  expect(manager.asked).toHaveLength(2);
  // A task of the version before: the old network takes nobody any more.
  expect((await prepare('t4', 's1')).joins[0]?.networkId).toBe('s1defaultv3');
  // And back to the first one, which is still there.
  manager.network = { id: '', internal: false };
  expect((await prepare('t5', 's1')).joins[0]).toMatchObject({
    networkId: 's1default',
    dockerNetwork: old.joins[0]?.dockerNetwork,
  });
});

it('tasks whose network is not as they know it come to an end of asking, when its block is full too', async () => {
  const { leased, manager, network, prepare } = setUp();
  await network.adopt([]);
  manager.network = { id: 'v3', internal: true };
  const all = await Promise.all(Array.from({ length: 70 }, (_, i) => prepare(`t${i}`, 's1')));
  expect(new Set(all.map(({ joins }) => joins[0]?.ip)).size).toBe(70);
  expect(leased).toHaveLength(2);
  expect(manager.asked.length).toBeLessThanOrEqual(2 * 70);
});

it('an agent that starts with two networks of one name asks which has it, and adopted tasks stay', async () => {
  const { engine, manager, network, prepare } = setUp();
  const specs = ['s1default', 's1defaultv3'].map((networkId, i) => {
    const block = blockOf({ networkId, stackId: 's1', network: 'default', block: `10.64.${i}.0/26`, internal: false });
    const { dockerNetwork: name, device: bridge, gateway } = block;
    return { block, spec: { name, bridge, subnet: block.block, gateway, labels: labelsOf(block), options: {} } };
  });
  const tasks = specs.map(({ block, spec }, i) => {
    engine.set(spec.name, spec);
    manager.known.set(block.networkId, block.block);
    const { networkId, dockerNetwork } = block;
    const join = { networkId, network: 'default', dockerNetwork, ip: block.block.replace('.0/26', '.9') };
    return { taskId: `t${i}`, stackId: 's1', joins: [join] };
  });
  await network.adopt(tasks);
  for (const { taskId, joins } of tasks) expect((await prepare(taskId, 's1')).joins).toEqual(joins);
  expect(manager.asked).toEqual([]);
  manager.network.id = 'v3';
  expect((await prepare('t9', 's1')).joins[0]?.networkId).toBe('s1defaultv3');
  expect(manager.asked).toHaveLength(1);
});

it('a leased block that another network uses here is not waited for in a loop', async () => {
  const { leased, manager, network, prepare } = setUp();
  await network.adopt([]);
  await prepare('t1', 's1');
  // The network-manager has lost the lease, and gives the block out again.
  leased.pop();
  manager.network = { id: 'v3', internal: true };
  await expect(prepare('t2', 's1', true)).rejects.toMatchObject({ code: 'Conflict', reason: 'BLOCK_IN_USE' });
});
