import type { Endpoint } from '@berth/contracts/registry';
import type { Assignment } from '@berth/contracts/scheduler';
import type { TaskStatus } from '@berth/contracts/workload';
import type { Clock, ContainerRuntime, ContainerState, Logger } from '@berth/kernel';
import { assert, BerthError, isBerthError } from '@berth/kernel';
import { joinsOf, label, taskOf } from '../domain/labels.ts';
import type { NodeTasks } from '../domain/node-tasks.ts';
import type { NodeIdentity, RunPlan } from '../domain/run-plan.ts';
import { hasNetworks, networkRequest, planRun } from '../domain/run-plan.ts';
import type { PreparedNetworks } from '../domain/task-network.ts';
import type { LaunchFailure, TaskAction } from '../domain/task-step.ts';
import type { AgentCache } from './agent-cache.ts';
import { Slots } from './slots.ts';
import type { TaskNetwork } from './task-network.ts';
import { Wake } from './wake.ts';

/** Lists the engine's containers even if no event asks for it. */
const listIntervalMs = 30_000;
/** Waits this long for more changes before it writes to disk. */
const saveDelayMs = 100;
/** A disk that refuses is tried again after this time: what runs goes on meanwhile. */
const saveRetryMs = 5_000;

export interface TaskEngineOptions {
  /** Containers created and started at a time. */
  readonly startConcurrency: number;
  readonly tasks: NodeTasks;
  readonly node: NodeIdentity;
  readonly runtime: ContainerRuntime<RunPlan>;
  readonly network: TaskNetwork;
  readonly cache: AgentCache;
  readonly clock: Clock;
  readonly log: Logger;
  /** New statuses of assigned tasks. */
  readonly onStatuses: (statuses: readonly TaskStatus[]) => void;
  /** A static task's status is new. */
  readonly onStatics: () => void;
  /** All endpoints of confirmed tasks, after each round. */
  readonly onEndpoints: (endpoints: readonly Endpoint[]) => void;
}

/** The loop around NodeTasks: watches the engine, carries decisions out, feeds results back. */
export class TaskEngine {
  readonly #o: TaskEngineOptions;
  readonly #wake: Wake;
  readonly #save: Wake;
  readonly #list: Wake;
  readonly #starts: Slots;
  readonly #launches = new Map<string, AbortController>();
  readonly #containerListeners = new Set<() => void>();
  #oneShots: readonly string[] = [];
  #fail: (error: unknown) => void = () => {};

  constructor(options: TaskEngineOptions) {
    this.#o = options;
    this.#starts = new Slots(options.startConcurrency);
    this.#wake = new Wake(options.clock);
    this.#save = new Wake(options.clock);
    this.#list = new Wake(options.clock);
  }

  get tasks(): NodeTasks {
    return this.#o.tasks;
  }

  /** One whole step of a dispatch session. */
  sync(step: Parameters<NodeTasks['sync']>[0]): void {
    this.#o.tasks.sync(step);
    this.#save.notify();
    this.#wake.notify();
  }

  /** The node's own tasks. `oneShots` are those of them that run once in each life of the agent. */
  setStatics(assignments: readonly Assignment[], oneShots: readonly string[]): void {
    this.#o.tasks.setStatics(assignments);
    if (this.#o.tasks.isListed) this.#o.tasks.rerunOneShots(oneShots);
    else this.#oneShots = oneShots;
    this.#wake.notify();
  }

  /** Calls the listener whenever containers may have changed; the returned function ends it. */
  onContainers(listener: () => void): () => void {
    this.#containerListeners.add(listener);
    return () => this.#containerListeners.delete(listener);
  }

  /** Runs until the signal aborts. Containers are left as they are. */
  async run(signal: AbortSignal): Promise<void> {
    const failed = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    const loops = [this.#watch(signal), this.#listing(signal), this.#deciding(signal), this.#saving(signal)];
    await Promise.race([Promise.all(loops), failed]);
    await this.#store();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { runtime, tasks } = this.#o;
    for await (const hint of runtime.watch(signal)) {
      if (hint.kind === 'gap') {
        tasks.unwatched();
        this.#list.notify();
      } else this.#look(hint.id, tasks.containers.ticket());
    }
  }

  /** Events come faster than answers: each is looked into on its own, tickets keep the order. */
  #look(id: string, ticket: number): void {
    const { runtime, tasks } = this.#o;
    this.#track(
      runtime.inspect(id).then(
        (state) => {
          tasks.containers.see(ticket, id, state);
          this.#changed();
        },
        (error: unknown) => {
          if (!isBerthError(error)) throw error;
          this.#list.notify();
        },
      ),
    );
  }

  async #listing(signal: AbortSignal): Promise<void> {
    const { runtime, tasks, clock, log } = this.#o;
    while (!signal.aborted) {
      await this.#list.wait(listIntervalMs, signal);
      if (signal.aborted) return;
      try {
        const ticket = tasks.containers.ticket();
        const containers = await runtime.list();
        const first = !tasks.isListed;
        if (first) await this.#adopt(containers);
        tasks.listed(ticket, containers);
        if (first) tasks.rerunOneShots(this.#oneShots);
        this.#changed();
      } catch (error) {
        if (!isBerthError(error)) throw error;
        tasks.unwatched();
        log.warn({ error: error.message }, 'the engine does not list its containers; trying again');
        await clock.sleep(1000, signal);
        this.#list.notify();
      }
    }
  }

  async #adopt(containers: readonly ContainerState[]): Promise<void> {
    const found = containers.flatMap((container) => {
      const taskId = taskOf(container)?.taskId;
      const joins = joinsOf(container);
      const stackId = container.labels[label.stackId] ?? '';
      return taskId === undefined || joins.length === 0 ? [] : [{ taskId, stackId, joins }];
    });
    // A task that was between two runs when the agent ended has no container, but a place on its networks.
    const byTask = new Map([...this.#o.tasks.heldPlaces(), ...found].map((task) => [task.taskId, task]));
    await this.#o.network.adopt([...byTask.values()]);
    this.#o.log.info({ containers: containers.length, tasks: byTask.size }, 'adopted what was found');
  }

  #changed(): void {
    this.#wake.notify();
    for (const listener of this.#containerListeners) listener();
  }

  async #deciding(signal: AbortSignal): Promise<void> {
    const { tasks, clock, onStatuses, onStatics, onEndpoints } = this.#o;
    let wakeAt = Number.POSITIVE_INFINITY;
    while (!signal.aborted) {
      await this.#wake.wait(wakeAt - clock.monotonic(), signal);
      if (signal.aborted) return;
      const decision = tasks.decide(clock.monotonic());
      wakeAt = decision.wakeAt;
      if (decision.recordsChanged) this.#save.notify();
      // First withdraw, then stop.
      if (decision.endpoints) onEndpoints(decision.endpoints);
      if (decision.statuses.length > 0) onStatuses(decision.statuses);
      if (decision.staticChanged) {
        onStatics();
        // Others may have waited for it.
        this.#wake.notify();
      }
      for (const { taskId, assignment, action } of decision.actions) this.#perform(taskId, assignment, action);
    }
  }

  #perform(taskId: string, assignment: Assignment | undefined, action: TaskAction): void {
    const { tasks, log } = this.#o;
    log.debug({ taskId, action: action.kind }, 'task action');
    switch (action.kind) {
      case 'launch':
        assert(assignment, 'only assigned tasks are launched');
        this.#track(this.#launch(taskId, assignment, action.run, action.replaces));
        return;
      case 'abort':
        this.#launches.get(taskId)?.abort();
        return;
      case 'stop':
        this.#operate(taskId, () => this.#stop(action.containerId));
        return;
      case 'remove':
        this.#operate(taskId, () => this.#remove(action.containerIds));
        return;
      case 'release':
        this.#operate(taskId, () => this.#release(taskId, action.volumes));
        return;
      case 'forget':
        log.info({ taskId, tasks: tasks.assignments.length }, 'a task that is no longer ours has left');
        return;
    }
  }

  async #launch(taskId: string, assignment: Assignment, run: number, replaces: readonly string[]): Promise<void> {
    const { tasks, clock, log } = this.#o;
    const abort = new AbortController();
    this.#launches.set(taskId, abort);
    try {
      await this.#start(taskId, assignment, run, replaces, abort.signal);
      tasks.succeeded(taskId);
    } catch (error) {
      const failure = abort.signal.aborted ? ({ kind: 'aborted' } as const) : launchFailure(error);
      if (failure.kind !== 'aborted') log.warn({ taskId, run, failure: failure.kind }, failure.message);
      tasks.launchFailed(taskId, failure, clock.monotonic());
    } finally {
      this.#launches.delete(taskId);
      this.#changed();
    }
  }

  async #start(
    taskId: string,
    assignment: Assignment,
    run: number,
    replaces: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { tasks, runtime, node } = this.#o;
    const networks = hasNetworks(assignment) ? await this.#networks(assignment, signal) : undefined;
    const plan = planRun(assignment, run, node, networks);
    await runtime.prepare(plan, signal);
    await this.#starts.run(async () => {
      signal.throwIfAborted();
      tasks.launchPhase(taskId, 'starting');
      this.#wake.notify();
      // The run before is kept for its logs until now.
      await this.#remove(replaces);
      await this.#see(await runtime.start(plan, signal));
    });
  }

  /** Whatever keeps a task from its networks may pass: the task waits and says for what. */
  async #networks(assignment: Assignment, signal: AbortSignal): Promise<PreparedNetworks> {
    try {
      return await this.#o.network.prepare(networkRequest(assignment), signal);
    } catch (error) {
      if (!isBerthError(error)) throw error;
      throw tryAgain(error);
    }
  }

  async #stop(containerId: string): Promise<void> {
    await this.#o.runtime.stop(containerId);
    await this.#see(containerId);
  }

  /** A look that begins after what was done, so that no earlier one overrides it. */
  async #see(containerId: string): Promise<void> {
    const { runtime, tasks } = this.#o;
    const ticket = tasks.containers.ticket();
    tasks.containers.see(ticket, containerId, await runtime.inspect(containerId));
  }

  async #remove(containerIds: readonly string[]): Promise<void> {
    const { runtime, tasks } = this.#o;
    for (const id of containerIds) {
      await runtime.remove(id);
      tasks.containers.see(tasks.containers.ticket(), id, undefined);
    }
  }

  async #release(taskId: string, volumes: readonly string[]): Promise<void> {
    const { network, runtime, log } = this.#o;
    await network.release(taskId);
    for (const name of volumes) {
      const result = await runtime.removeVolume(name);
      // The last of its containers takes it along.
      log.debug({ taskId, volume: name, result }, 'volume to be removed');
    }
  }

  #operate(taskId: string, work: () => Promise<void>): void {
    const { tasks, clock, log } = this.#o;
    this.#track(
      work().then(
        () => {
          tasks.succeeded(taskId);
          this.#changed();
        },
        (error: unknown) => {
          if (!isBerthError(error)) throw error;
          log.warn({ taskId, error: error.message }, 'could not be done; trying again');
          tasks.failed(taskId, clock.monotonic());
          this.#wake.notify();
        },
      ),
    );
  }

  /** A programmer's error in any piece of work ends the loop, and with it the process. */
  #track(work: Promise<void>): void {
    work.catch((error: unknown) => this.#fail(error));
  }

  async #saving(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#save.wait(Number.POSITIVE_INFINITY, signal);
      if (signal.aborted) return;
      await this.#o.clock.sleep(saveDelayMs, signal);
      if (await this.#store()) continue;
      await this.#o.clock.sleep(saveRetryMs, signal);
      this.#save.notify();
    }
  }

  /** False if the disk refused. */
  async #store(): Promise<boolean> {
    const { tasks, cache, log } = this.#o;
    try {
      await cache.save({ records: tasks.records, assignments: tasks.assignments, revision: tasks.revision });
      return true;
    } catch (error) {
      if (!isBerthError(error)) throw error;
      log.error({ error: error.message }, 'the tasks of this node could not be kept; trying again');
      return false;
    }
  }
}

function launchFailure(error: unknown): LaunchFailure {
  if (!isBerthError(error)) throw error;
  const final = error.code === 'FailedPrecondition' || error.code === 'InvalidArgument';
  return { kind: final ? 'rejected' : 'retry', message: error.message };
}

function tryAgain(cause: BerthError): BerthError {
  return new BerthError('Unavailable', `network: ${cause.message}`, { reason: cause.reason, cause });
}
