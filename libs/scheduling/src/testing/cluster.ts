import { helloOf, rpc } from '@berth/contracts';
import type { RuntimeServiceImplementation } from '@berth/contracts/agent';
import type { Change as NetworkChange, NetworkServiceImplementation } from '@berth/contracts/network';
import { Network } from '@berth/contracts/network';
import type { CatalogServiceImplementation, Node, Change as RegistryChange } from '@berth/contracts/registry';
import { Endpoint } from '@berth/contracts/registry';
import type { Assignment, ControlServiceClient, DispatchServiceClient, TaskView } from '@berth/contracts/scheduler';
import type { Task, TaskStatus } from '@berth/contracts/workload';
import { DesiredState, TaskState, TaskStatus as TaskStatusMessage } from '@berth/contracts/workload';
import type {
  BoundService,
  CallExtra,
  CallerContext,
  Clock,
  Identity,
  Logger,
  Revision,
  Rng,
  RpcDialer,
  Store,
} from '@berth/kernel';
import { AsyncQueue, bind } from '@berth/kernel';
import type { SchedulerSettings } from '../service/options.ts';
import { SchedulerService } from '../service/scheduler-service.ts';

interface WatchStep<C> {
  revision: Revision;
  reset: boolean;
  more: boolean;
  changes: C[];
}

/** Another owner's Watch, with what the test puts there. */
class FakeOwner<C extends { key: string; resource?: unknown }> {
  readonly #held = new Map<string, C>();
  readonly #queues = new Set<AsyncQueue<WatchStep<C>>>();
  #revision = 1;

  set(change: C): void {
    this.#revision += 1;
    if (change.resource === undefined) this.#held.delete(change.key);
    else this.#held.set(change.key, change);
    for (const queue of this.#queues) queue.push(this.#step(false, [change]));
  }

  async *watch(_request: unknown, { signal }: { signal: AbortSignal }): AsyncGenerator<WatchStep<C>> {
    const queue = new AsyncQueue<WatchStep<C>>();
    queue.push(this.#step(true, [...this.#held.values()]));
    this.#queues.add(queue);
    signal.addEventListener('abort', () => queue.close());
    try {
      yield* queue;
    } finally {
      this.#queues.delete(queue);
    }
  }

  #step(reset: boolean, changes: C[]): WatchStep<C> {
    return { revision: { epoch: 'x', revision: this.#revision }, reset, more: false, changes };
  }
}

const clusterId = 'c1';

/** What a test cluster runs on: the ports in memory, with their faults. */
export interface MemoryWorld {
  readonly clock: Clock & {
    advance(ms: number): Promise<void>;
    advanceUntil(condition: () => boolean, withinMs?: number, stepMs?: number): Promise<void>;
  };
  readonly rng: Rng;
  readonly store: Store & { readonly revision: number; setAvailable(available: boolean): void };
  readonly rpc: {
    serve(options: { identity: Identity; address: string; services: readonly BoundService[] }): () => void;
    dialer(identity: Identity, from?: string): RpcDialer;
    cut(from: string, address: string): () => void;
  };
  readonly log: Logger;
}

/** Replicas of the scheduler, with a registry, a network-manager and agents that the test moves. Virtual time. */
export class TestCluster {
  readonly clock: MemoryWorld['clock'];
  readonly rng: Rng;
  readonly store: MemoryWorld['store'];
  readonly rpc: MemoryWorld['rpc'];
  readonly log: Logger;
  readonly registry = new FakeOwner<RegistryChange>();
  readonly networkManager = new FakeOwner<NetworkChange>();
  /** What CheckStack does; throws to refuse. */
  checkStack: () => void = () => {};
  readonly #settings: Partial<SchedulerSettings>;
  readonly #running: { abort: AbortController; service: SchedulerService; done: Promise<void>; stop: () => void }[] =
    [];

  constructor(world: MemoryWorld, settings: Partial<SchedulerSettings> = {}) {
    this.clock = world.clock;
    this.rng = world.rng;
    this.store = world.store;
    this.rpc = world.rpc;
    this.log = world.log;
    this.#settings = settings;
    const unused = {} as CatalogServiceImplementation<CallerContext>;
    this.rpc.serve({
      identity: { role: 'service', name: 'registry' },
      address: 'registry',
      services: [bind(rpc.catalog, { ...unused, watch: (r, c) => this.registry.watch(r, c) })],
    });
    this.rpc.serve({
      identity: { role: 'service', name: 'network-manager' },
      address: 'network-manager',
      services: [
        bind(rpc.network, {
          ...({} as NetworkServiceImplementation<CallerContext>),
          watch: (r, c) => this.networkManager.watch(r, c),
          checkStack: async () => {
            this.checkStack();
            return {};
          },
        }),
      ],
    });
  }

  setNode(node: Node): void {
    this.registry.set({ scopes: [], key: `node/${node.id}`, resource: { $case: 'node', value: node } });
  }

  /** Callers are told of a task on a network, or no longer. */
  setEndpoint({ id: taskId, nodeId }: Pick<Task, 'id' | 'nodeId'>, networkId: string, announced: boolean): void {
    const value = Endpoint.fromPartial({ taskId, nodeId, networkId, ip: '198.18.0.9', healthy: true });
    const resource: RegistryChange['resource'] = announced ? { $case: 'endpoint', value } : undefined;
    this.registry.set({ scopes: [], key: `endpoint/${networkId}/${taskId}`, resource });
  }

  setNetwork(id: string, stackId: string | undefined): void {
    const resource: NetworkChange['resource'] =
      stackId === undefined
        ? undefined
        : { $case: 'network', value: Network.fromPartial({ id, stackId, name: 'default' }) };
    this.networkManager.set({ scopes: [], key: `network/${id}`, resource });
  }

  /** Starts a replica; `store` may be one with faults of its own. */
  start(address: string, store: Store = this.store): SchedulerService {
    const dialer = this.rpc.dialer({ role: 'service', name: 'scheduler' }, address);
    const target = (name: string) => ({ identity: { role: 'service', name }, addresses: () => [name] }) as const;
    const service = new SchedulerService({
      store,
      clock: this.clock,
      rng: this.rng,
      log: this.log,
      clusterId,
      instance: address,
      registry: dialer.client(rpc.catalog, target('registry')),
      networkManager: dialer.client(rpc.network, target('network-manager')),
      agentOf: (node) =>
        dialer.client(rpc.runtime, {
          identity: { role: 'node', id: node.id },
          addresses: () => [`${node.address}:${node.agentPort}`],
        }),
      settings: this.#settings,
    });
    const abort = new AbortController();
    const stop = this.rpc.serve({
      identity: { role: 'service', name: 'scheduler' },
      address,
      services: service.services,
    });
    this.#running.push({ abort, service, done: service.run(abort.signal), stop });
    return service;
  }

  /** Ends a replica as `kill -9` would: its calls break, its loops end. Its lease runs out by itself. */
  async kill(service: SchedulerService): Promise<void> {
    const running = this.#running.find((each) => each.service === service);
    if (!running) return;
    this.#running.splice(this.#running.indexOf(running), 1);
    running.stop();
    running.abort.abort();
    await running.done;
  }

  async stop(): Promise<void> {
    for (const { service } of [...this.#running]) await this.kill(service);
  }

  control(address = 'scheduler', name = 'admin'): ControlServiceClient<CallExtra> {
    return this.rpc
      .dialer({ role: 'operator', name })
      .client(rpc.control, { identity: { role: 'service', name: 'scheduler' }, addresses: () => [address] });
  }

  dispatch(nodeId: string, addresses: readonly string[] = ['scheduler']): DispatchServiceClient<CallExtra> {
    return this.rpc
      .dialer({ role: 'node', id: nodeId })
      .client(rpc.dispatch, { identity: { role: 'service', name: 'scheduler' }, addresses: () => addresses });
  }

  /** A node's runtime API. */
  serveRuntime(node: Node, runtime: Partial<RuntimeServiceImplementation<CallerContext>>): () => void {
    return this.rpc.serve({
      identity: { role: 'node', id: node.id },
      address: `${node.address}:${node.agentPort}`,
      services: [bind(rpc.runtime, { ...({} as RuntimeServiceImplementation<CallerContext>), ...runtime })],
    });
  }

  /** Lets a promise settle, with as much virtual time as it takes. */
  async finish<T>(promise: Promise<T>, withinMs = 60_000): Promise<T> {
    let settled = false;
    const watched = promise.then(
      (value) => {
        settled = true;
        return value;
      },
      (error: unknown) => {
        settled = true;
        throw error;
      },
    );
    watched.catch(() => {});
    await this.clock.advanceUntil(() => settled, withinMs, 5);
    return watched;
  }

  async tasks(address = 'scheduler', all = false): Promise<TaskView[]> {
    const { tasks } = await this.finish(this.control(address).listTasks({ all }));
    return tasks;
  }
}

/** An agent without containers: takes what it is given and reports at once, as far as `outcome` says. */
export class FakeAgent {
  readonly assignments = new Map<string, Assignment>();
  /** What becomes of a task that should run. */
  outcome: (assignment: Assignment) => Partial<TaskStatus> = () => ({
    state: TaskState.TASK_STATE_RUNNING,
    startedAtMs: 1,
  });
  /** Full sets received. */
  fullSets = 0;
  readonly #statuses = new Map<string, TaskStatus>();
  readonly #announced = new Set<string>();
  readonly #client: DispatchServiceClient<CallExtra>;
  readonly #cluster: TestCluster;
  #since: Revision | undefined;

  constructor(cluster: TestCluster, nodeId: string, addresses?: readonly string[]) {
    this.#cluster = cluster;
    this.#client = cluster.dispatch(nodeId, addresses);
  }

  /** Follows its session, over breaks, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const steps = this.#client.session({ hello: helloOf(clusterId, ''), since: this.#since }, { signal });
        for await (const step of steps) {
          if (step.full) {
            this.fullSets += 1;
            this.assignments.clear();
          }
          for (const assignment of step.assignments) this.assignments.set(assignment.task?.id ?? '', assignment);
          for (const id of step.removedTaskIds) this.assignments.delete(id);
          if (!step.more) this.#since = step.revision;
          await this.react();
        }
      } catch {
        await this.#cluster.clock.sleep(200, signal);
      }
    }
  }

  /** Reports what has become of its tasks. */
  async react(): Promise<void> {
    const statuses: TaskStatus[] = [];
    for (const [taskId, assignment] of this.assignments) {
      const before = this.#statuses.get(taskId);
      const next = TaskStatusMessage.fromPartial({ run: 1, ...before, ...this.#next(assignment), taskId });
      if (before && JSON.stringify({ ...before, seq: 0 }) === JSON.stringify({ ...next, seq: 0 })) continue;
      next.seq = Math.max(before?.seq ?? 0, assignment.lastStatus?.seq ?? 0) + 1;
      this.#statuses.set(taskId, next);
      statuses.push(next);
    }
    if (statuses.length > 0) await this.#client.reportStatus({ statuses });
    this.#announce();
  }

  /** The registry serves endpoints of tasks that run and are to. */
  #announce(): void {
    for (const { spec, task } of this.assignments.values()) {
      const serves =
        task?.desired === DesiredState.DESIRED_STATE_RUNNING &&
        this.#statuses.get(task.id)?.state === TaskState.TASK_STATE_RUNNING;
      for (const { network } of spec?.networks ?? []) {
        const key = `${network}/${task?.id}`;
        if (!task || serves === this.#announced.has(key)) continue;
        if (serves) this.#announced.add(key);
        else this.#announced.delete(key);
        this.#cluster.setEndpoint(task, network, serves);
      }
    }
  }

  #next(assignment: Assignment): Partial<TaskStatus> {
    switch (assignment.task?.desired) {
      case DesiredState.DESIRED_STATE_RUNNING:
        return this.outcome(assignment);
      case DesiredState.DESIRED_STATE_REMOVE:
        return { state: TaskState.TASK_STATE_SHUTDOWN, removed: true };
      default:
        return { state: TaskState.TASK_STATE_SHUTDOWN };
    }
  }
}
