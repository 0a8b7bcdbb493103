import type { WatchAnswer } from '@berth/changes';
import { RemoteMirror } from '@berth/changes';
import { helloOf } from '@berth/contracts';
import { LeaseBlockRequest, ReleaseBlockRequest } from '@berth/contracts/network';
import type { Change as RegistryChange } from '@berth/contracts/registry';
import { Node, NodeStatus } from '@berth/contracts/registry';
import type { Change as SchedulerChange } from '@berth/contracts/scheduler';
import { Stack } from '@berth/contracts/scheduler';
import { NetworkSpec } from '@berth/contracts/workload';
import type { CallerContext, Clock, Identity, MirrorOptions, MirrorStep } from '@berth/kernel';
import { MemoryLogger, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { networkSettings } from '@berth/workload';
import { afterEach, describe, expect, it } from 'vitest';
import { NetworkHandlers } from './network-handlers.ts';
import { NetworkManager } from './network-manager.ts';

const epoch = 'epoch-1';
const ends: AbortController[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end.abort();
});

/** The scheduler's Watch: what the test says, as one stream per mirror. */
class FakeScheduler {
  #revision = 1;
  readonly #stacks = new Map<string, Stack>();
  readonly #listeners = new Set<() => void>();
  connected = true;

  set(id: string, networks: readonly string[], options: { removing?: boolean } = {}): void {
    this.#revision += 1;
    const specs = networks.map((name) => NetworkSpec.fromPartial({ name }));
    this.#stacks.set(id, Stack.fromPartial({ id, name: id, namespace: 'default', networks: specs, ...options }));
    for (const listener of [...this.#listeners]) listener();
  }

  remove(id: string): void {
    this.#revision += 1;
    this.#stacks.delete(id);
    for (const listener of [...this.#listeners]) listener();
  }

  /** Cuts or mends all streams. */
  setConnected(connected: boolean): void {
    this.connected = connected;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Each change as a whole new snapshot: enough for what is tested here. */
  async *watch(signal: AbortSignal): AsyncGenerator<WatchAnswer<SchedulerChange>> {
    while (!signal.aborted && this.connected) {
      const changes = [...this.#stacks.values()].map((value) => ({
        scopes: [`stack.${value.id}`],
        key: `stack/${value.id}`,
        resource: { $case: 'stack' as const, value },
      }));
      const revision = this.#revision;
      yield { revision: { epoch, revision }, reset: true, more: false, changes };
      if (revision !== this.#revision || !this.connected) continue;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.#listeners.delete(done);
          resolve();
        };
        this.#listeners.add(done);
        signal.addEventListener('abort', done, { once: true });
      });
    }
  }
}

/** The registry's Watch, at its end: which nodes have left. */
async function* watchNodes(left: readonly string[], signal: AbortSignal): AsyncGenerator<WatchAnswer<RegistryChange>> {
  const changes = left.map((id) => ({
    scopes: [`node.${id}`],
    key: `node/${id}`,
    resource: { $case: 'node' as const, value: Node.fromPartial({ id, status: NodeStatus.NODE_STATUS_LEFT }) },
  }));
  yield { revision: { epoch, revision: 1 }, reset: true, more: false, changes };
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

/** A store whose news takes its time. */
class SlowStore extends MemoryStore {
  readonly #clock: Clock;
  lagMs = 0;

  constructor(clock: Clock) {
    super({ clock });
    this.#clock = clock;
  }

  override async *mirror(prefix: string, options: MirrorOptions): AsyncGenerator<MirrorStep, void, undefined> {
    for await (const step of super.mirror(prefix, options)) {
      if (this.lagMs > 0) await this.#clock.sleep(this.lagMs, options.signal);
      yield step;
    }
  }
}

function setUp(options: { replicas?: number; pool?: string } = {}) {
  const end = new AbortController();
  ends.push(end);
  const clock = new VirtualClock();
  const store = new SlowStore(clock);
  const scheduler = new FakeScheduler();
  const settings = networkSettings({ pool: options.pool ?? '10.64.0.0/10', rangePrefix: 22, blockPrefix: 26 });
  const failures: unknown[] = [];
  const replicas = Array.from({ length: options.replicas ?? 1 }, (_, i) => {
    const mirror = new RemoteMirror<SchedulerChange>();
    const rng = new SeededRng(i + 1);
    const log = new MemoryLogger();
    const registry = new RemoteMirror<RegistryChange>();
    const manager = new NetworkManager({ store, clock, rng, log, settings, scheduler: mirror, registry });
    const call = (_since: unknown, signal: AbortSignal) => scheduler.watch(signal);
    mirror.run({ call, clock, rng, log, signal: end.signal }).catch((error) => failures.push(error));
    manager.run(end.signal).catch((error) => failures.push(error));
    const handlers = new NetworkHandlers({ manager, store, clock, rng, settings, clusterId: 'c1' });
    const lease = (request: Partial<LeaseBlockRequest>, call: ReturnType<typeof node>) =>
      handlers.leaseBlock(LeaseBlockRequest.fromPartial(request), call);
    const release = (request: Partial<ReleaseBlockRequest>, call: ReturnType<typeof node>) =>
      handlers.releaseBlock(ReleaseBlockRequest.fromPartial(request), call);
    const leave = (...left: string[]) => {
      const nodes = { call: (_: unknown, ended: AbortSignal) => watchNodes(left, ended), clock, rng, log };
      registry.run({ ...nodes, signal: end.signal }).catch((error) => failures.push(error));
    };
    return Object.assign(handlers, { lease, release, leave, manager });
  });
  const keys = async () => (await store.list('network/')).entries.map(({ key }) => key);
  return { clock, store, scheduler, replicas, handlers: replicas[0]!, keys, failures, end };
}

function as(caller: Identity): CallerContext & { signal: AbortSignal } {
  return { caller, peer: 'test', signal: new AbortController().signal };
}
const node = (id: string) => as({ role: 'node', id });
const anyone = as({ role: 'service', name: 'scheduler' });

/** Runs calls that wait for the virtual clock. */
async function run<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let done = false;
  const watched = work.finally(() => {
    done = true;
  });
  watched.catch(() => {});
  await clock.advanceUntil(() => done, 30_000, 10);
  return watched;
}

describe('network-manager', () => {
  it('says NETWORK_NOT_READY until the stack is seen, then leases, again the same block', async () => {
    const { clock, scheduler, handlers } = setUp();
    const ask = (fullBlocks: string[] = []) =>
      run(clock, handlers.lease({ stackId: 's1', network: 'default', fullBlocks }, node('a')));
    await expect(ask()).rejects.toMatchObject({ code: 'FailedPrecondition', reason: 'NETWORK_NOT_READY' });
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const first = await ask();
    expect(first.network?.ranges).toEqual(['10.64.0.0/22']);
    expect(await ask()).toEqual(first);
    const second = await ask([first.lease!.block]);
    expect(second.lease!.block).not.toBe(first.lease!.block);
    const listed = await handlers.listLeases({}, node('a'));
    expect(listed.leases.map(({ block }) => block).sort()).toEqual([first.lease!.block, second.lease!.block].sort());
    expect(listed.networks).toHaveLength(1);
    expect((await handlers.listLeases({}, node('b'))).leases).toEqual([]);
  });

  it('never gives two of 50 nodes at 3 replicas the same block', async () => {
    const { clock, scheduler, replicas, handlers, failures } = setUp({ replicas: 3 });
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const request = { stackId: 's1', network: 'default', fullBlocks: [] };
    const answers = await run(
      clock,
      Promise.all(Array.from({ length: 50 }, (_, i) => replicas[i % 3]!.lease(request, node(`node${i}`)))),
    );
    expect(new Set(answers.map(({ lease }) => lease!.block)).size).toBe(50);
    const listed = await handlers.listNetworks({}, anyone);
    expect(listed.leases).toHaveLength(50);
    // 16 blocks, then 32, then room for 64 more.
    expect(listed.networks[0]!.ranges).toHaveLength(3);
    expect(failures).toEqual([]);
  });

  it('takes one block however often, and at whichever replica at once, a request is carried out', async () => {
    const { clock, scheduler, replicas, handlers } = setUp({ replicas: 3 });
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const full: string[] = [];
    for (let round = 0; round < 3; round++) {
      const request = { stackId: 's1', network: 'default', fullBlocks: [...full] };
      // All decide on the same state: what one writes, the others have not seen.
      const answers = await run(clock, Promise.all(replicas.map((replica) => replica.lease(request, node('a')))));
      const blocks = new Set(answers.map(({ lease }) => lease!.block));
      expect(blocks.size).toBe(1);
      full.push(...blocks);
    }
    expect(new Set((await handlers.listNetworks({}, anyone)).leases.map(({ block }) => block))).toEqual(new Set(full));
  });

  it('a lease carries where its node is reached now, and a release ends only the lease that it names', async () => {
    const { clock, scheduler, handlers, keys } = setUp();
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const ask = (address: string) =>
      run(clock, handlers.lease({ stackId: 's1', network: 'default', address, vxlanPort: 7461 }, node('a')));
    const { lease: first, network } = await ask('198.18.0.11');
    expect(network).toMatchObject({ backend: 'vxlan', pool: '10.64.0.0/10', vni: expect.any(Number) });
    const { lease: moved } = await ask('198.18.0.12');
    expect(moved).toEqual({ ...first, address: '198.18.0.12' });
    await expect(ask('nowhere')).rejects.toMatchObject({ code: 'InvalidArgument' });
    const { networkId, block, id } = moved!;
    await handlers.release({ networkId, block, leaseId: 'of another time' }, node('a'));
    expect((await handlers.listLeases({}, node('a'))).leases).toEqual([moved]);
    await handlers.release({ networkId, block, leaseId: id }, node('a'));
    expect((await keys()).filter((key) => /block|holder/u.test(key))).toEqual([]);
  });

  it('a block that was given back is leased anew, also where the mirror does not show that it was', async () => {
    const { clock, store, scheduler, handlers } = setUp();
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const ask = () => run(clock, handlers.lease({ stackId: 's1', network: 'default' }, node('a')));
    const { lease: first } = await ask();
    store.lagMs = 200;
    const { networkId, block, id: leaseId } = first!;
    await handlers.release({ networkId, block, leaseId }, node('a'));
    const { lease: second } = await ask();
    expect(second?.id).not.toBe(leaseId);
    expect((await handlers.listLeases({}, node('a'))).leases).toEqual([second]);
  });

  it('a block is not confirmed of a network that has lost its name, also where the mirror does not show that yet', async () => {
    const { clock, store, scheduler, handlers } = setUp();
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const ask = (address = '') => run(clock, handlers.lease({ stackId: 's1', network: 'default', address }, node('a')));
    await ask();
    store.lagMs = 200;
    for (const address of ['', '198.18.0.12']) {
      scheduler.set('s1', []);
      await clock.advance(50);
      // It is deleting in the store, and not yet in the mirror.
      const [network] = (await handlers.listNetworks({}, anyone)).networks;
      expect(network?.deleting).toBe(false);
      await expect(ask(address)).rejects.toMatchObject({ reason: 'NETWORK_NOT_READY' });
      scheduler.set('s1', ['default']);
      await clock.advance(2_000);
    }
  });

  it('a node that has left holds nothing, and gets nothing', async () => {
    const { clock, scheduler, replicas, handlers, failures } = setUp({ replicas: 2 });
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const request = { stackId: 's1', network: 'default' };
    for (const name of ['gone', 'stays']) await run(clock, handlers.lease(request, node(name)));
    for (const replica of replicas) replica.leave('gone');
    await clock.advance(1_000);
    const left = (await handlers.listNetworks({}, anyone)).leases;
    expect(left.map(({ nodeId }) => nodeId)).toEqual(['stays']);
    await expect(run(clock, handlers.lease(request, node('gone')))).rejects.toMatchObject({ reason: 'NODE_LEFT' });
    expect(failures).toEqual([]);
  });

  it('leaves no key after cycles of declaring, leasing, releasing and removing', async () => {
    const { clock, scheduler, replicas, keys, failures } = setUp({ replicas: 2 });
    for (let cycle = 0; cycle < 5; cycle++) {
      const id = `s${cycle}`;
      scheduler.set(id, ['default', 'back']);
      await clock.advance(1_000);
      const held = [];
      for (const name of ['a', 'b', 'c']) {
        const request = { stackId: id, network: 'default', fullBlocks: [] };
        held.push({ name, lease: (await run(clock, replicas[cycle % 2]!.lease(request, node(name)))).lease! });
      }
      scheduler.set(id, ['default', 'back'], { removing: true });
      await clock.advance(1_000);
      const request = { stackId: id, network: 'default', fullBlocks: [] };
      await expect(run(clock, replicas[0]!.lease(request, node('d')))).rejects.toMatchObject({
        reason: 'NETWORK_NOT_READY',
      });
      for (const { name, lease } of held) {
        await replicas[0]!.release({ networkId: lease.networkId, block: lease.block }, node('x'));
        await replicas[0]!.release({ networkId: lease.networkId, block: lease.block }, node(name));
        await replicas[1]!.release({ networkId: lease.networkId, block: lease.block }, node(name));
      }
      scheduler.remove(id);
      await clock.advance(1_000);
      expect(await keys()).toEqual([]);
    }
    expect(failures).toEqual([]);
  });

  it('deletes nothing while the mirror of the scheduler is not synced', async () => {
    const { clock, scheduler, handlers, failures } = setUp();
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    scheduler.setConnected(false);
    scheduler.remove('s1');
    await clock.advance(10_000);
    const before = await handlers.listNetworks({}, anyone);
    expect(before.networks.map(({ deleting }) => deleting)).toEqual([false]);
    scheduler.setConnected(true);
    await clock.advance(10_000);
    expect((await handlers.listNetworks({}, anyone)).networks).toEqual([]);
    expect(failures).toEqual([]);
  });

  it('goes on by itself when the store was away', async () => {
    const { clock, store, scheduler, handlers, failures } = setUp();
    await clock.advance(100);
    store.setAvailable(false);
    scheduler.set('s1', ['default']);
    await clock.advance(3_000);
    store.setAvailable(true);
    await clock.advance(3_000);
    expect((await handlers.listNetworks({}, anyone)).networks).toHaveLength(1);
    expect(failures).toEqual([]);
  });

  it('says when the pool is used up, with the remedy', async () => {
    const { clock, scheduler, handlers } = setUp({ pool: '10.64.0.0/21' });
    scheduler.set('s1', ['a', 'b', 'c']);
    await clock.advance(1_000);
    expect((await handlers.listNetworks({}, anyone)).networks).toHaveLength(2);
    const check = { namespace: 'default', stack: 's2', networks: [NetworkSpec.fromPartial({ name: 'd' })] };
    await expect(handlers.checkStack(check, anyone)).rejects.toMatchObject({
      code: 'Exhausted',
      message: expect.stringContaining('remove stacks'),
    });
    for (let i = 0; i < 16; i++) {
      await run(clock, handlers.lease({ stackId: 's1', network: 'a', fullBlocks: [] }, node(`n${i}`)));
    }
    await expect(
      run(clock, handlers.lease({ stackId: 's1', network: 'a', fullBlocks: [] }, node('n16'))),
    ).rejects.toMatchObject({ code: 'Exhausted', reason: 'POOL_EXHAUSTED' });
  });

  it('needs no range for a network that is declared again while tasks are on it', async () => {
    const { clock, scheduler, handlers } = setUp({ pool: '10.64.0.0/21' });
    scheduler.set('s1', ['a', 'b']);
    await clock.advance(1_000);
    await run(clock, handlers.lease({ stackId: 's1', network: 'a', fullBlocks: [] }, node('n1')));
    scheduler.set('s1', ['b']);
    await clock.advance(1_000);
    const check = (name: string) =>
      handlers.checkStack({ namespace: 'default', stack: 's1', networks: [NetworkSpec.fromPartial({ name })] }, anyone);
    await expect(check('a')).resolves.toEqual({});
    await expect(check('c')).rejects.toMatchObject({ code: 'Exhausted', reason: 'POOL_EXHAUSTED' });
  });

  it('serves its resources by Watch and Changes, to its own cluster', async () => {
    const { clock, scheduler, handlers, end } = setUp();
    scheduler.set('s1', ['default']);
    await clock.advance(500);
    const call = { ...anyone, signal: end.signal };
    const watching = handlers.watch({ hello: helloOf('c1', 'test'), since: undefined, scopes: [] }, call);
    const first = await watching.next();
    expect(first.value).toMatchObject({ reset: true, changes: [{ resource: { $case: 'network' } }] });
    const id = (await handlers.listNetworks({}, anyone)).networks[0]!.id;
    await run(clock, handlers.lease({ stackId: 's1', network: 'default', fullBlocks: [] }, node('a')));
    const changes = await handlers.changes({ scope: `network.${id}`, since: first.value!.revision }, anyone);
    expect(changes).toMatchObject({ reset: false, changes: [{ resource: { $case: 'lease' } }] });
    expect(changes.head?.revision).toBe(changes.revision?.revision);
    const foreign = handlers.watch({ hello: helloOf('c2', 'test'), since: undefined, scopes: [] }, anyone);
    await expect(foreign.next()).rejects.toMatchObject({ reason: 'WRONG_CLUSTER' });
  });

  it('outlasts a full store', async () => {
    const { clock, store, scheduler, handlers, failures } = setUp();
    await clock.advance(500);
    store.setFull(true);
    scheduler.set('s1', ['default']);
    await clock.advance(2_000);
    expect(failures).toEqual([]);
    store.setFull(false);
    await clock.advance(500);
    const lease = handlers.lease({ stackId: 's1', network: 'default', fullBlocks: [] }, node('a'));
    expect((await run(clock, lease)).lease).toBeDefined();
  });
});
