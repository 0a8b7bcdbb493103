import { rpc } from '@berth/contracts';
import type { LoadImageRequest } from '@berth/contracts/agent';
import type { AnnounceEndpointsRequest, Endpoint, Heartbeat } from '@berth/contracts/registry';
import type { Assignment, SessionResponse } from '@berth/contracts/scheduler';
import type { TaskStatus } from '@berth/contracts/workload';
import { DesiredState, NetworkMode, TaskState } from '@berth/contracts/workload';
import type { CallerContext } from '@berth/kernel';
import { AsyncQueue, BerthError, bind } from '@berth/kernel';
import { MemoryDisk, MemoryLogger, MemoryRpc, SeededRng, VirtualClock } from '@berth/memory';
import { stateName } from '@berth/workload';
import { afterEach, describe, expect, it } from 'vitest';
import { assignmentFixture } from '../domain/assignment-fixture.ts';
import { NodeTasks } from '../domain/node-tasks.ts';
import type { PreparedNetworks, TaskNetworkRequest } from '../domain/task-network.ts';
import { HollowRuntime } from '../hollow/hollow-runtime.ts';
import { AgentCache } from './agent-cache.ts';
import { DispatchClient } from './dispatch-client.ts';
import { EndpointAnnouncer } from './endpoint-announcer.ts';
import { MemberDirectory } from './members.ts';
import { PresenceClient } from './presence-client.ts';
import { RuntimeHandler } from './runtime-handler.ts';
import type { ContainerReader, ImageArchives, UsageReading } from './runtime-ports.ts';
import { StatusReporter } from './status-reporter.ts';
import { TaskEngine } from './task-engine.ts';
import type { TaskNetwork } from './task-network.ts';

const node = { clusterId: 'c1', nodeId: 'n1', hostname: 'h1' };
const hello = { protocolVersion: 1, clusterId: 'c1', softwareVersion: 'test' };
const identity = { role: 'node', id: 'n1' } as const;

/** A scheduler and a registry, as far as an agent sees them. */
class ControlPlane {
  readonly statuses = new Map<string, TaskStatus>();
  readonly history: string[] = [];
  readonly endpoints = new Map<string, Endpoint>();
  readonly announcements: AnnounceEndpointsRequest[] = [];
  readonly heartbeats: Heartbeat[] = [];
  /** Tasks of which the scheduler takes no word from this node. */
  readonly foreign = new Set<string>();
  readonly sinces: (number | undefined)[] = [];
  #revision = 1;
  #assigned = new Map<string, Assignment>();
  readonly #removed: string[] = [];
  #push: (step: SessionResponse) => void = () => {};
  readonly #down = new Map<string, () => void>();
  /** Where the node's last session and connection were opened. */
  readonly holder = { session: '', connection: '' };
  readonly #rpc: MemoryRpc;

  constructor(memoryRpc: MemoryRpc) {
    this.#rpc = memoryRpc;
  }

  /** Replicas at `s:<replica>` and `r:<replica>`, of one mind. */
  up(replica = 1): void {
    const service = (name: string, address: string, services: Parameters<MemoryRpc['serve']>[0]['services']) =>
      this.#down.set(address, this.#rpc.serve({ identity: { role: 'service', name }, address, services }));
    service('scheduler', `s:${replica}`, [bind(rpc.dispatch, this.#dispatch(`s:${replica}`))]);
    service('registry', `r:${replica}`, [bind(rpc.presence, this.#presence(`r:${replica}`))]);
  }

  down(...addresses: readonly string[]): void {
    for (const address of addresses.length > 0 ? addresses : [...this.#down.keys()]) {
      this.#down.get(address)?.();
      this.#down.delete(address);
    }
  }

  assign(...assignments: Assignment[]): void {
    for (const assignment of assignments) this.#assigned.set(assignment.task!.id, assignment);
    this.#revision += 1;
    this.#push(this.#step(false, assignments, []));
  }

  /** From now on a replica serves that is one step behind and has none of what is assigned now. */
  lag(): void {
    this.#revision -= 1;
    this.#assigned.clear();
  }

  catchUp(...assignments: Assignment[]): void {
    for (const assignment of assignments) this.#assigned.set(assignment.task!.id, assignment);
    this.#revision += 1;
  }

  remove(taskId: string): void {
    this.#assigned.delete(taskId);
    this.#removed.push(taskId);
    this.#revision += 1;
    this.#push(this.#step(false, [], [taskId]));
  }

  #step(full: boolean, assignments: Assignment[], removedTaskIds: string[]): SessionResponse {
    const accepted = assignments.map((a) => {
      const status = this.statuses.get(a.task!.id);
      return status ? { ...a, lastStatus: status } : a;
    });
    return {
      revision: { epoch: 'e', revision: this.#revision },
      full,
      more: false,
      assignments: accepted,
      removedTaskIds,
    };
  }

  #dispatch(address: string) {
    const plane = this;
    return {
      async *session(
        request: { since?: { revision: number } | undefined; full: boolean },
        context: { signal: AbortSignal },
      ) {
        plane.sinces.push(request.since?.revision);
        plane.holder.session = address;
        const full = request.full || request.since === undefined;
        const queue = [plane.#step(full, [...plane.#assigned.values()], plane.#removed)];
        let wake = () => {};
        plane.#push = (step) => {
          queue.push(step);
          wake();
        };
        context.signal.addEventListener('abort', () => wake());
        while (!context.signal.aborted) {
          const next = queue.shift();
          if (next) yield next;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
      },
      async reportStatus({ statuses }: { statuses: TaskStatus[] }) {
        const refused = statuses.find(({ taskId }) => plane.foreign.has(taskId));
        if (refused) throw new BerthError('PermissionDenied', `task ${refused.taskId} is not on the caller's node`);
        for (const status of statuses) {
          plane.statuses.set(status.taskId, status);
          plane.history.push(`${status.taskId} ${status.run} ${stateName(status.state)}`);
        }
        return { unknownTaskIds: [] };
      },
      async reportStatic() {
        return {};
      },
    };
  }

  #presence(address: string) {
    const plane = this;
    return {
      async *connect(requests: AsyncIterable<{ step?: { $case: string; value: unknown } | undefined }>) {
        for await (const { step } of requests) {
          if (step?.$case === 'heartbeat') plane.heartbeats.push(step.value as Heartbeat);
          if (step?.$case !== 'hello') continue;
          plane.holder.connection = address;
          const members = [...plane.#down.keys()].map((at) => ({
            identity: at.startsWith('s') ? 'service:scheduler' : 'service:registry',
            instance: at,
            address: at,
            hostname: '',
            version: '',
          }));
          yield { heartbeatIntervalMs: 500, leaseMs: 3000, members, epoch: 'e' };
        }
      },
      async announceEndpoints(request: AnnounceEndpointsRequest, _context: CallerContext) {
        plane.announcements.push(request);
        if (request.full) plane.endpoints.clear();
        for (const key of request.withdrawn) plane.endpoints.delete(`${key.taskId}/${key.networkId}`);
        for (const e of request.endpoints) plane.endpoints.set(`${e.taskId}/${e.networkId}`, e);
        return { revision: { epoch: 'e', revision: 1 } };
      },
      async *announceMember() {},
    };
  }
}

/** Gives every task 10.64.0.<n>, if it is let. */
class FakeNetwork implements TaskNetwork {
  ready = true;
  readonly adopted: string[] = [];
  readonly held = new Map<string, PreparedNetworks>();

  async adopt(tasks: readonly { taskId: string }[]): Promise<void> {
    this.adopted.push(...tasks.map((t) => t.taskId));
  }

  async prepare(request: TaskNetworkRequest): Promise<PreparedNetworks> {
    if (!this.ready) throw new BerthError('FailedPrecondition', 'not yet', { reason: 'NETWORK_NOT_READY' });
    const ip = `10.64.0.${this.held.size + 2}`;
    const prepared = this.held.get(request.taskId) ?? {
      joins: request.attachments.map(({ network }) => ({ networkId: network, network, dockerNetwork: network, ip })),
      dnsServers: [],
      dnsOptions: [],
    };
    this.held.set(request.taskId, prepared);
    return prepared;
  }

  async release(taskId: string): Promise<void> {
    this.held.delete(taskId);
  }
}

class Agent {
  readonly abort = new AbortController();
  readonly tasks: NodeTasks;
  readonly engine: TaskEngine;
  readonly members: MemberDirectory;
  readonly dispatch: DispatchClient;
  readonly handler: RuntimeHandler;
  #ended: Promise<unknown>;

  static async start(world: World): Promise<Agent> {
    const cache = new AgentCache(world.disk, world.log);
    return new Agent(world, cache, await cache.load());
  }

  constructor(world: World, cache: AgentCache, cached: Awaited<ReturnType<AgentCache['load']>>) {
    const { clock, rng, log, disk, runtime, network } = world;
    const ports = { clock, rng, log };
    const dialer = world.rpc.dialer(identity);
    this.members = new MemberDirectory({ disk, log });
    this.members.seed({ role: 'service', name: 'registry' }, ['r:1']);
    this.members.seed({ role: 'service', name: 'scheduler' }, ['s:1']);
    const dispatchApi = dialer.client(rpc.dispatch, this.members.target('scheduler'));
    const presenceApi = dialer.client(rpc.presence, this.members.target('registry'));
    this.tasks = new NodeTasks({ node, now: clock.monotonic(), ...cached });
    const reporter = new StatusReporter({ ...ports, client: dispatchApi });
    const announcer = new EndpointAnnouncer({ ...ports, client: presenceApi, synced: () => this.dispatch.synced });
    this.engine = new TaskEngine({
      ...ports,
      startConcurrency: 8,
      tasks: this.tasks,
      node,
      runtime,
      network,
      cache,
      onStatuses: (s) => reporter.report(s),
      onStatics: () => {},
      onEndpoints: (e) => announcer.set(e),
    });
    const presence: PresenceClient = new PresenceClient({
      ...ports,
      client: presenceApi,
      hello,
      describe: async () => ({}) as never,
      synced: () => this.dispatch.synced,
      members: this.members,
      onConnected: () => announcer.reconnected(),
      onTold: () => {},
      onRemoved: () => {},
    });
    this.dispatch = new DispatchClient({
      ...ports,
      client: dispatchApi,
      hello,
      applied: () => this.tasks.revision,
      onStep: (step) => this.engine.sync(step),
      onSynced: (synced) => {
        presence.changed();
        if (synced) announcer.confirmed();
      },
    });
    this.handler = new RuntimeHandler({
      engine: this.engine,
      runtime,
      reader: world.reader,
      images: world.images,
      clock,
      log,
    });
    const loops = [this.engine, presence, this.dispatch, reporter, announcer];
    this.#ended = Promise.all(loops.map((loop) => loop.run(this.abort.signal)));
    this.#ended.catch((error: unknown) => world.deaths.push(error));
  }

  /** As by kill -9: nothing more is done, nothing is undone. */
  kill(): void {
    this.abort.abort();
  }
}

/** Half a core, all the time. */
class FakeReader implements ContainerReader {
  readonly #readings = new Map<string, number>();

  async details(id: string): Promise<object> {
    return { Id: id };
  }

  async usage(id: string): Promise<UsageReading> {
    const number = (this.#readings.get(id) ?? 0) + 1;
    this.#readings.set(id, number);
    const bytes = { networkReceivedBytes: 1, networkSentBytes: 2, diskReadBytes: 3, diskWrittenBytes: 4 };
    return { cpuNs: number * 5e8, memoryBytes: 10, memoryLimitBytes: 20, ...bytes, processes: 5 };
  }
}

class FakeImages implements ImageArchives {
  readonly archives: string[] = [];

  async load(archive: AsyncIterable<Uint8Array>) {
    let text = '';
    for await (const chunk of archive) text += new TextDecoder().decode(chunk);
    this.archives.push(text);
    return [{ name: 'a:1', id: 'sha256:1', present: false }];
  }

  async *save(name: string) {
    if (name !== 'a:1') throw new BerthError('NotFound', 'no such image');
    yield* [new Uint8Array([1, 2]), new Uint8Array([3])];
  }
}

class World {
  readonly clock = new VirtualClock();
  readonly rng = new SeededRng(1);
  readonly log = new MemoryLogger();
  readonly disk = new MemoryDisk();
  readonly rpc = new MemoryRpc({ clock: this.clock, rng: this.rng, logger: this.log });
  readonly runtime = new HollowRuntime({ clock: this.clock, images: ['test/shell'] });
  readonly network = new FakeNetwork();
  readonly reader = new FakeReader();
  readonly images = new FakeImages();
  readonly plane = new ControlPlane(this.rpc);
  readonly deaths: unknown[] = [];
  agents: Agent[] = [];

  async agent(): Promise<Agent> {
    const agent = await Agent.start(this);
    this.agents.push(agent);
    return agent;
  }

  state(taskId: string): string {
    const status = this.plane.statuses.get(taskId);
    return status ? `${stateName(status.state)} ${status.run}` : 'unknown';
  }

  async until(taskId: string, state: string): Promise<void> {
    await this.clock.advanceUntil(() => this.state(taskId) === state);
  }
}

let world: World;
const begin = async (): Promise<World> => {
  world = new World();
  world.plane.up();
  await world.agent();
  return world;
};
afterEach(async () => {
  for (const agent of world.agents) agent.kill();
  await world.clock.advance(5_000);
  expect(world.deaths).toEqual([]);
});

const onNetwork = {
  container: { networkMode: NetworkMode.NETWORK_MODE_UNSPECIFIED },
  spec: { networks: [{ network: 'default', aliases: [] }] },
  assignment: { drainDelayMs: 2000 },
};

describe('two replicas of each service', () => {
  /** Silence is noticed after 2.5 s; the memory network then tries the cut address for one more. */
  const withinMs = 4_000;
  it.each(['killed', 'cut off'])('%s where session and connection are: another has them soon', async (how) => {
    world = new World();
    const { plane, clock, runtime } = world;
    plane.up(1);
    plane.up(2);
    await world.agent();
    plane.assign(assignmentFixture('a', onNetwork));
    await world.until('a', 'running 1');
    await clock.advance(1_000);
    for (const kind of ['session', 'connection'] as const) {
      const address = plane.holder[kind];
      const announced = plane.announcements.length;
      if (how === 'killed') plane.down(address);
      else world.rpc.cut('node:n1', address);
      await clock.advanceUntil(() => plane.holder[kind] !== address, withinMs);
      await clock.advance(1_000);
      expect(plane.heartbeats.at(-1)).toMatchObject({ dispatchSynced: true });
      // What a new connection's registry holds of us is said anew.
      if (kind === 'connection') expect(plane.announcements.slice(announced)).toMatchObject([{ full: true }]);
    }
    runtime.exit(runtime.of('a')!.id, 3);
    await world.until('a', 'running 2');
    expect(plane.endpoints.size).toBe(1);
  });

  it('an agent that has restarted takes nothing from the one that lags behind what it has applied', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    await clock.advance(1_000);
    world.agents[0]?.kill();
    plane.down();
    plane.lag();
    plane.up();
    await world.agent();
    await clock.advance(20_000);
    expect(runtime.containers.map(({ phase }) => phase.kind)).toEqual(['running']);
    expect(world.log.lines.map(({ message }) => message)).toContain(
      'a scheduler lags behind what is applied; asking another',
    );
    plane.catchUp(assignmentFixture('a'));
    await clock.advance(5_000);
    expect(world.agents[1]?.dispatch.synced).toBe(true);
    expect(plane.history.filter((line) => line === 'a 1 running')).toHaveLength(2);
  });
});

describe('an agent with its control plane', () => {
  it('runs what is assigned and reports each step', async () => {
    const { plane, clock } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    expect(plane.history).toEqual(['a 1 starting', 'a 1 running']);
    plane.assign(assignmentFixture('a', { task: { desired: DesiredState.DESIRED_STATE_REMOVE } }));
    await world.until('a', 'shutdown 1');
    await clock.advanceUntil(() => plane.statuses.get('a')?.removed === true);
    expect(world.runtime.containers).toEqual([]);
    plane.remove('a');
    await clock.advance(1000);
    expect(world.agents[0]?.tasks.records.size).toBe(0);
  });

  it('rejects what can never run here, with the reason', async () => {
    const { plane } = await begin();
    plane.assign(assignmentFixture('a', { container: { image: 'nowhere' } }));
    await world.until('a', 'rejected 1');
    expect(plane.statuses.get('a')?.message).toContain('nowhere');
  });

  it('waits for a network that is not there yet, and says so', async () => {
    const { plane, network, clock } = await begin();
    network.ready = false;
    plane.assign(assignmentFixture('a', onNetwork));
    await clock.advance(20_000);
    expect(plane.statuses.get('a')).toMatchObject({
      state: TaskState.TASK_STATE_PREPARING,
      message: 'network: not yet',
    });
    network.ready = true;
    await world.until('a', 'running 1');
  });

  it('announces an endpoint while its task runs, and withdraws it before the stop', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a', onNetwork));
    await clock.advanceUntil(() => plane.endpoints.get('a/default')?.healthy === true);
    plane.assign(assignmentFixture('a', { ...onNetwork, task: { desired: DesiredState.DESIRED_STATE_SHUTDOWN } }));
    await clock.advanceUntil(() => plane.endpoints.size === 0);
    expect(runtime.of('a')?.phase.kind).toBe('running');
    await clock.advance(1_500);
    expect(runtime.of('a')?.phase.kind).toBe('running');
    await world.until('a', 'shutdown 1');
    expect(world.network.held.size).toBe(0);
  });

  it('an unhealthy task is unhealthy for callers first, then stopped, then run again', async () => {
    const { plane, clock, runtime } = await begin();
    const healthcheck = {
      disable: false,
      test: ['CMD', 'x'],
      intervalMs: 0,
      timeoutMs: 0,
      retries: 0,
      startPeriodMs: 0,
    };
    plane.assign(assignmentFixture('a', { ...onNetwork, container: { ...onNetwork.container, healthcheck } }));
    await clock.advanceUntil(() => plane.endpoints.get('a/default')?.healthy === false);
    runtime.setHealth(runtime.of('a')!.id, 'healthy');
    await clock.advanceUntil(() => plane.endpoints.get('a/default')?.healthy === true);
    runtime.setHealth(runtime.of('a')!.id, 'unhealthy', 'refused');
    await world.until('a', 'restarting 2');
    expect(plane.endpoints.size).toBe(0);
    await world.until('a', 'starting 2');
    expect(plane.statuses.get('a')).toMatchObject({ failedRuns: 1 });
  });

  it('tells the registry whether dispatch is synced', async () => {
    const { plane, clock } = await begin();
    await clock.advanceUntil(() => plane.heartbeats.at(-1)?.dispatchSynced === true);
    const count = plane.heartbeats.length;
    await clock.advance(5_000);
    expect(plane.heartbeats.length - count).toBeGreaterThanOrEqual(9);
  });
});

describe('an agent without its control plane', () => {
  it('restarts in place, and reports when the scheduler is back, from where the session was', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    plane.down();
    runtime.exit(runtime.of('a')!.id, 3);
    await clock.advanceUntil(() => runtime.of('a')?.name === 'berth-a-2');
    plane.up();
    await world.until('a', 'running 2');
    await clock.advanceUntil(() => plane.sinces.length === 2);
    expect(plane.sinces).toEqual([undefined, 2]);
    expect(plane.statuses.get('a')).toMatchObject({ failedRuns: 1, exitCode: 3 });
  });

  it('a task that was between two runs when its agent was killed keeps its place on its networks', async () => {
    const { plane, clock, runtime, network } = await begin();
    plane.assign(assignmentFixture('a', onNetwork));
    await world.until('a', 'running 1');
    await clock.advance(1_000);
    plane.down();
    world.agents[0]?.kill();
    await runtime.remove(runtime.of('a')!.id);
    const again = await world.agent();
    await clock.advanceUntil(() => again.tasks.isListed);
    expect(network.adopted).toEqual(['a']);
    await clock.advanceUntil(() => runtime.of('a')?.name === 'berth-a-2', 15_000);
  });

  it('after its own restart goes on alone after 10 s, and does not stop what runs', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a', onNetwork), assignmentFixture('b'));
    await world.until('a', 'running 1');
    await world.until('b', 'running 1');
    await clock.advance(1_000);
    plane.down();
    world.agents[0]?.kill();
    runtime.exit(runtime.of('b')!.id, 1);
    const again = await world.agent();
    await clock.advance(9_000);
    expect(world.network.adopted).toEqual(['a']);
    expect(runtime.containers.map((c) => c.name).sort()).toEqual(['berth-a-1', 'berth-b-1']);
    await clock.advanceUntil(() => runtime.of('b')?.name === 'berth-b-2', 5_000);
    expect(runtime.of('a')?.phase.kind).toBe('running');
    expect(plane.announcements.filter((a) => a.full)).toHaveLength(1);
    plane.up();
    await world.until('b', 'running 2');
    // Endpoints only once dispatch has confirmed them, then all of them.
    await clock.advanceUntil(() => plane.announcements.filter((a) => a.full).length === 2);
    expect(again.tasks.synced).toBe(true);
    expect(plane.endpoints.size).toBe(1);
  });

  it('back from an outage stops what is no longer its own before it starts anything new', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('old'));
    await world.until('old', 'running 1');
    plane.down();
    await clock.advance(10_000);
    plane.remove('old');
    plane.assign(assignmentFixture('new'));
    plane.up();
    const order: string[] = [];
    await clock.advanceUntil(() => {
      order.push(runtime.containers.map((c) => `${c.name} ${c.phase.kind}`).join(', '));
      return runtime.of('new')?.phase.kind === 'running';
    });
    expect(order.some((o) => o.includes('berth-old-1') && o.includes('berth-new-1'))).toBe(false);
    await world.until('new', 'running 1');
  });
});

describe('an engine that is away', () => {
  it('costs time, no task and no run', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    runtime.up = false;
    plane.assign(
      assignmentFixture('b'),
      assignmentFixture('a', { task: { desired: DesiredState.DESIRED_STATE_SHUTDOWN } }),
    );
    await clock.advance(30_000);
    expect(plane.statuses.get('b')).toMatchObject({ run: 1, state: TaskState.TASK_STATE_PREPARING, failedRuns: 0 });
    runtime.up = true;
    await world.until('b', 'running 1');
    await world.until('a', 'shutdown 1');
  });
});

describe('what goes wrong around it', () => {
  it('a status that is refused does not hold up the others', async () => {
    const { plane, clock } = await begin();
    plane.foreign.add('c');
    plane.assign(...['a', 'b', 'c', 'd', 'e'].map((id) => assignmentFixture(id)));
    await clock.advanceUntil(() => ['a', 'b', 'd', 'e'].every((id) => world.state(id) === 'running 1'));
    expect(world.state('c')).toBe('unknown');
    await clock.advance(5_000);
    const refusals = world.log.lines.filter(({ message }) => message === 'the scheduler refuses a status');
    expect(refusals.length).toBeGreaterThan(0);
    expect(refusals.length).toBeLessThan(5);
  });

  it('a full disk costs nothing that runs, and is made good when there is room again', async () => {
    const { plane, clock, disk } = await begin();
    disk.full = true;
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    await clock.advance(20_000);
    expect(world.deaths).toEqual([]);
    disk.full = false;
    await clock.advance(10_000);
    expect((await new AgentCache(disk, world.log).load()).assignments).toHaveLength(1);
  });
});

describe('logs and exec', () => {
  const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
  const execStart = {
    taskId: 'a',
    command: ['cat'],
    tty: false,
    environment: [],
    user: '',
    workingDir: '',
    size: undefined,
    caller: 'x',
  };

  it('logs follow over restarts until the task is gone', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    const lines: string[] = [];
    const request = { taskId: 'a', follow: true, sinceMs: 0, caller: 'operator:x', tail: undefined };
    const { handler } = world.agents[0]!;
    const following = (async () => {
      for await (const { line } of handler.logs(request, { signal: new AbortController().signal }))
        lines.push(text(line));
    })();
    await clock.advance(500);
    runtime.exit(runtime.of('a')!.id, 1);
    await world.until('a', 'running 2');
    await clock.advance(500);
    plane.assign(assignmentFixture('a', { task: { desired: DesiredState.DESIRED_STATE_SHUTDOWN } }));
    await world.until('a', 'shutdown 2');
    await clock.advance(5_000);
    await following;
    expect(lines).toEqual(['berth-a-1 speaks', 'berth-a-2 speaks']);
    const none = handler.logs({ ...request, taskId: 'x' }, { signal: new AbortController().signal });
    await expect(none[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: 'TASK_NOT_HERE' });
  });

  it('logs go on with the next run when a container is replaced before its output was asked for', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    const speak = runtime.logs.bind(runtime);
    let asked = 0;
    runtime.logs = (id, options) => {
      asked += 1;
      if (asked > 1) return speak(id, options);
      runtime.exit(id, 1);
      throw new BerthError('NotFound', 'no such container');
    };
    const lines: string[] = [];
    const abort = new AbortController();
    const request = { taskId: 'a', follow: true, sinceMs: 0, caller: 'operator:x', tail: undefined };
    const following = (async () => {
      for await (const { line } of world.agents[0]!.handler.logs(request, { signal: abort.signal }))
        lines.push(text(line));
    })();
    await world.until('a', 'running 2');
    await clock.advance(3_000);
    expect(lines).toEqual(['berth-a-2 speaks']);
    abort.abort();
    await clock.advance(3_000);
    await following;
  });

  it('exec passes input on and ends with the exit code', async () => {
    const { plane } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    async function* input() {
      yield { step: { $case: 'start' as const, value: execStart } };
      yield { step: { $case: 'stdin' as const, value: Buffer.from('hello') } };
      yield { step: { $case: 'stdinEnd' as const, value: true } };
    }
    const out: string[] = [];
    for await (const { step } of world.agents[0]!.handler.exec(input(), { signal: new AbortController().signal })) {
      out.push(step?.$case === 'exitCode' ? `exit ${step.value}` : text(step?.value));
    }
    expect(out).toEqual(['cat\n', 'hello', 'exit 0']);
  });

  it('exec whose caller goes while the engine still starts it is closed', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    const abort = new AbortController();
    const start = runtime.exec.bind(runtime);
    runtime.exec = async (id, options) => {
      abort.abort();
      return start(id, options);
    };
    const step = { $case: 'start' as const, value: execStart };
    async function* input() {
      yield { step };
      await new Promise(() => undefined);
    }
    let over = false;
    void (async () => {
      for await (const piece of world.agents[0]!.handler.exec(input(), { signal: abort.signal })) void piece;
      over = true;
    })();
    await clock.advance(0);
    expect(over).toBe(true);
  });
});

describe('stats, inspect and images', () => {
  const call = () => ({ signal: new AbortController().signal });
  const audit = () => world.log.lines.map(({ message, fields }) => `${message} ${String(fields?.['caller'])}`);

  it('stats are what lies between two readings, over restarts, until the task has ended', async () => {
    const { plane, clock, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    const measured: (number | undefined)[] = [];
    const { handler } = world.agents[0]!;
    const following = (async () => {
      for await (const { usage } of handler.stats({ taskId: 'a', follow: true, caller: 'reader:x' }, call()))
        measured.push(usage?.cpuMillis);
    })();
    await clock.advance(2_500);
    expect(measured).toEqual([500, 500]);
    runtime.exit(runtime.of('a')!.id, 1);
    await world.until('a', 'running 2');
    await clock.advance(3_500);
    expect(measured.length).toBeGreaterThan(3);
    expect(measured.every((cpu) => cpu === 500)).toBe(true);
    plane.assign(assignmentFixture('a', { task: { desired: DesiredState.DESIRED_STATE_SHUTDOWN } }));
    await world.until('a', 'shutdown 2');
    await clock.advance(3_000);
    await following;
    expect(audit()).toContain('stats reader:x');
    const stopped = handler.stats({ taskId: 'a', follow: false, caller: 'reader:x' }, call());
    await expect(stopped[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: 'NOT_RUNNING' });
  });

  it('inspect shows the latest run, and says so when there is none', async () => {
    const { plane, runtime } = await begin();
    plane.assign(assignmentFixture('a'));
    await world.until('a', 'running 1');
    const { handler } = world.agents[0]!;
    const { containerJson } = await handler.inspect({ taskId: 'a', caller: 'reader:x' });
    expect(JSON.parse(containerJson)).toEqual({ Id: runtime.of('a')!.id });
    await expect(handler.inspect({ taskId: 'x', caller: 'reader:x' })).rejects.toMatchObject({
      reason: 'TASK_NOT_HERE',
    });
    expect(audit()).toContain('inspect reader:x');
  });

  async function* requests(...steps: (string | 'start' | 'end')[]): AsyncGenerator<LoadImageRequest> {
    for (const step of steps) {
      if (step === 'start') yield { step: { $case: 'start', value: { caller: 'operator:x' } } };
      else if (step === 'end') yield { step: { $case: 'end', value: true } };
      else yield { step: { $case: 'chunk', value: Buffer.from(step) } };
    }
  }

  it('an archive that was cut off is none', async () => {
    await begin();
    const { handler } = world.agents[0]!;
    const answers: unknown[] = [];
    for await (const answer of handler.loadImage(requests('start', 'ab', 'c', 'end'), call())) answers.push(answer);
    expect(answers).toEqual([{ images: [{ name: 'a:1', id: 'sha256:1', present: false }] }]);
    const cut = handler.loadImage(requests('start', 'ab'), call());
    await expect(cut[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: 'CUT_OFF' });
    const early = handler.loadImage(requests('ab'), call());
    await expect(early[Symbol.asyncIterator]().next()).rejects.toMatchObject({ reason: 'NO_START' });
    expect(world.images.archives).toEqual(['abc']);
    expect(audit()).toContain('load image operator:x');
  });

  it('takes two archives at a time, not three', async () => {
    await begin();
    const { handler } = world.agents[0]!;
    const queue = new AsyncQueue<LoadImageRequest>();
    const two = [queue, new AsyncQueue<LoadImageRequest>()].map((input) => {
      input.push({ step: { $case: 'start', value: { caller: 'operator:x' } } });
      const loading = handler.loadImage(input, call())[Symbol.asyncIterator]().next();
      return { input, loading };
    });
    await world.clock.advance(10);
    const third = handler.loadImage(requests('start', 'end'), call())[Symbol.asyncIterator]().next();
    await expect(third).rejects.toMatchObject({ code: 'Exhausted', reason: 'TOO_MANY_LOADS' });
    for (const { input, loading } of two) {
      input.push({ step: { $case: 'end', value: true } });
      await loading;
    }
  });

  it('saves an image in pieces', async () => {
    await begin();
    const { handler } = world.agents[0]!;
    const pieces: number[] = [];
    for await (const { chunk } of handler.saveImage({ name: 'a:1', caller: 'operator:x' }, call()))
      pieces.push(...chunk);
    expect(pieces).toEqual([1, 2, 3]);
    const none = handler.saveImage({ name: 'b', caller: 'operator:x' }, call());
    await expect(none[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'NotFound' });
  });
});
