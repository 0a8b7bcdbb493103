import type { ServiceRecord, ServiceVersion, StackRecord, StaticTasks } from '@berth/contracts/scheduler';
import type { Task, TaskStatus } from '@berth/contracts/workload';
import { DesiredState, TaskState } from '@berth/contracts/workload';
import type { MirrorChange, StoredEntry } from '@berth/kernel';
import { effectiveState, isEnded, isServing } from '@berth/workload';
import { families } from './families.ts';
import { IndexMap } from './index-map.ts';
import type { Held } from './table.ts';
import { Table } from './table.ts';
import type { NodeUsage } from './usage.ts';
import { usageOf } from './usage.ts';

/** What one revision changed, as ids. */
export interface Touched {
  readonly stacks: Set<string>;
  readonly services: Set<string>;
  readonly tasks: Set<string>;
  /** Nodes whose assignments changed; for a deleted task the node it was on. */
  readonly assignments: Map<string, Set<string>>;
  /** Nodes whose availability or static tasks changed. */
  readonly nodes: Set<string>;
}

/** What a table of whatever family can do with an entry. */
type AnyTable = Pick<Table<never>, 'owns' | 'put' | 'delete' | 'clear'>;

/**
 * The scheduler's records in memory, decoded and indexed so that a change costs what it touches. Pure: the same entries
 * and changes give the same state. Written by the mirror alone.
 */
export class Records {
  readonly stacks = new Table<StackRecord>(families.stack, (previous, next) => this.#stackChanged(previous, next));
  readonly leavings = new Table<StackRecord>(families.leaving, (p, n) => this.#touch('stacks', (n ?? p)?.stack?.id));
  readonly specs = new Table(families.spec, (previous, next) => this.#touch('stacks', (next ?? previous)?.stackId));
  readonly services = new Table<ServiceRecord>(families.service, (p, n) => this.#serviceChanged(p, n));
  readonly versions = new Table<ServiceVersion>(families.version, (p, n) => this.#versionChanged(p, n));
  readonly tasks = new Table<Task>(families.task, (previous, next) => this.#taskChanged(previous, next));
  readonly statuses = new Table<TaskStatus>(families.status, (p, n) => this.#statusChanged(p, n));
  readonly availabilities = new Table(families.availability, (p, n) => this.#touch('nodes', (n ?? p)?.nodeId));
  readonly volumes = new Table(families.volume, () => {});
  readonly statics = new Table<StaticTasks>(families.static, (p, n) => this.#staticChanged(n ?? p));
  readonly #tables: readonly AnyTable[] = [
    this.stacks,
    this.leavings,
    this.specs,
    this.services,
    this.versions,
    this.tasks,
    this.statuses,
    this.availabilities,
    this.volumes,
    this.statics,
  ];

  readonly #stackNames = new Map<string, readonly [namespace: string, name: string]>();
  readonly #servicesOfStack = new IndexMap();
  readonly #versionsOfService = new IndexMap();
  readonly #tasksOfService = new IndexMap();
  readonly #tasksOnNode = new IndexMap();
  readonly #pending = new Set<string>();
  readonly #globals = new Set<string>();
  readonly #usage = new Map<string, NodeUsage>();
  readonly #serving = new IndexMap();
  readonly #indexes = [
    this.#servicesOfStack,
    this.#versionsOfService,
    this.#tasksOfService,
    this.#tasksOnNode,
    this.#serving,
  ];
  #touched: Touched = nothingTouched();

  /** Replaces everything. */
  reset(entries: readonly StoredEntry[]): Touched {
    for (const table of this.#tables) table.clear();
    this.#stackNames.clear();
    for (const index of this.#indexes) index.clear();
    this.#pending.clear();
    this.#globals.clear();
    this.#usage.clear();
    this.#touched = nothingTouched();
    for (const entry of entries) this.#tableOf(entry.key)?.put(entry);
    return this.#touched;
  }

  /** Applies all changes of one revision. */
  apply(changes: readonly MirrorChange[]): Touched {
    this.#touched = nothingTouched();
    for (const change of changes) {
      if (change.kind === 'put') this.#tableOf(change.entry.key)?.put(change.entry);
      else this.#tableOf(change.key)?.delete(change.key);
    }
    return this.#touched;
  }

  stack(id: string): Held<StackRecord> | undefined {
    const tokens = this.#stackNames.get(id);
    return tokens ? this.stacks.get(...tokens) : this.leavings.get(id);
  }

  /** Ids of all stacks, those among them that have given their name away. */
  *stackIds(): Generator<string> {
    yield* this.#stackNames.keys();
    for (const { value } of this.leavings.values()) if (value.stack) yield value.stack.id;
  }

  /** Services of a stack, by name. */
  servicesOf(stackId: string): Held<ServiceRecord>[] {
    return held(this.services, this.#servicesOfStack.of(stackId)).sort((a, b) =>
      compare(nameOf(a.value), nameOf(b.value)),
    );
  }

  /** Ids of the services that want a task on every node. */
  get globalServices(): ReadonlySet<string> {
    return this.#globals;
  }

  /** The service of a stack that its spec declares under this name; one on its way out does not count. */
  serviceNamed(stackId: string, name: string): Held<ServiceRecord> | undefined {
    return this.servicesOf(stackId).find(({ value }) => nameOf(value) === name && !value.removing);
  }

  /** What the service runs now. */
  currentVersion(record: ServiceRecord): ServiceVersion | undefined {
    return this.versions.get(record.service?.id ?? '', String(record.service?.specVersion ?? 0))?.value;
  }

  /** Spec versions of a service that stand in the store. */
  versionsOf(serviceId: string): ServiceVersion[] {
    return [...this.#versionsOfService.of(serviceId)]
      .map((version) => this.versions.get(serviceId, version)?.value)
      .filter((version) => version !== undefined);
  }

  tasksOf(serviceId: string): Held<Task>[] {
    return held(this.tasks, this.#tasksOfService.of(serviceId));
  }

  tasksOn(nodeId: string): Held<Task>[] {
    return held(this.tasks, this.#tasksOnNode.of(nodeId));
  }

  /** Tasks without a node, oldest first. */
  pendingTasks(): Held<Task>[] {
    return held(this.tasks, this.#pending).sort(
      (a, b) => a.createRevision - b.createRevision || compare(a.value.id, b.value.id),
    );
  }

  status(taskId: string): TaskStatus | undefined {
    return this.statuses.get(taskId)?.value;
  }

  /** How far a task has come, by its record and its status. */
  stateOf(task: Task): TaskState {
    return effectiveState(task, this.status(task.id));
  }

  /** Tasks of a service that should run and do, and are healthy where that is checked. */
  servingTasks(serviceId: string): number {
    return this.#serving.of(serviceId).size;
  }

  /** What is promised on a node, static tasks included. */
  usage(nodeId: string): NodeUsage {
    const known = this.#usage.get(nodeId);
    if (known) return known;
    const statics = runningStatics(this.statics.get(nodeId)?.value);
    const holding = this.tasksOn(nodeId)
      .map(({ value }) => value)
      .filter((task) => holdsResources(task, this.status(task.id)));
    const usage = usageOf([...statics, ...holding]);
    this.#usage.set(nodeId, usage);
    return usage;
  }

  #tableOf(key: string): AnyTable | undefined {
    return this.#tables.find((table) => table.owns(key));
  }

  #touch(what: 'stacks' | 'services' | 'tasks' | 'nodes', id: string | undefined): void {
    if (id) this.#touched[what].add(id);
  }

  #touchAssignment(nodeId: string, taskId: string): void {
    if (nodeId === '') return;
    const tasks = this.#touched.assignments.get(nodeId);
    if (tasks) tasks.add(taskId);
    else this.#touched.assignments.set(nodeId, new Set([taskId]));
  }

  #stackChanged(previous: StackRecord | undefined, next: StackRecord | undefined): void {
    if (previous?.stack) this.#stackNames.delete(previous.stack.id);
    if (next?.stack) this.#stackNames.set(next.stack.id, [next.stack.namespace, next.stack.name]);
    const id = (next ?? previous)?.stack?.id ?? '';
    this.#touch('stacks', id);
    // Its name is another's now: it stands among those that leave.
    if (previous?.stack && previous.stack.id !== id) {
      this.#touch('stacks', previous.stack.id);
      return;
    }
    // What a service shows as wanted depends on it.
    if (previous?.stack?.removing !== next?.stack?.removing) {
      for (const serviceId of this.#servicesOfStack.of(id)) this.#touch('services', serviceId);
    }
    // An assignment says whether its stack's volumes go with it.
    if (previous && next && previous.removeVolumes !== next.removeVolumes) {
      for (const { value } of this.servicesOf(id)) {
        for (const task of this.tasksOf(value.service?.id ?? ''))
          this.#touchAssignment(task.value.nodeId, task.value.id);
      }
    }
  }

  #serviceChanged(previous: ServiceRecord | undefined, next: ServiceRecord | undefined): void {
    const service = (next ?? previous)?.service;
    if (!service) return;
    if (next) this.#servicesOfStack.add(service.stackId, service.id);
    else this.#servicesOfStack.remove(service.stackId, service.id);
    if (next && service.mode === 'global') this.#globals.add(service.id);
    else this.#globals.delete(service.id);
    this.#touch('services', service.id);
    this.#touch('stacks', service.stackId);
  }

  #versionChanged(previous: ServiceVersion | undefined, next: ServiceVersion | undefined): void {
    if (next) this.#versionsOfService.add(next.serviceId, String(next.version));
    else if (previous) this.#versionsOfService.remove(previous.serviceId, String(previous.version));
    this.#touch('services', (next ?? previous)?.serviceId);
  }

  #taskChanged(previous: Task | undefined, next: Task | undefined): void {
    for (const task of [previous, next]) {
      if (!task) continue;
      this.#usage.delete(task.nodeId);
      this.#touch('tasks', task.id);
      this.#touch('services', task.serviceId);
      this.#touch('stacks', task.stackId);
      if (task.state !== TaskState.TASK_STATE_PENDING) this.#touchAssignment(task.nodeId, task.id);
    }
    if (previous) {
      this.#tasksOfService.remove(previous.serviceId, previous.id);
      if (previous.nodeId !== '') this.#tasksOnNode.remove(previous.nodeId, previous.id);
      this.#pending.delete(previous.id);
    }
    if (previous && !next) this.#serving.remove(previous.serviceId, previous.id);
    if (next) {
      this.#noteServing(next);
      this.#tasksOfService.add(next.serviceId, next.id);
      if (next.nodeId !== '') this.#tasksOnNode.add(next.nodeId, next.id);
      if (next.state === TaskState.TASK_STATE_PENDING) this.#pending.add(next.id);
    }
  }

  #statusChanged(previous: TaskStatus | undefined, next: TaskStatus | undefined): void {
    const taskId = (next ?? previous)?.taskId ?? '';
    this.#touch('tasks', taskId);
    const task = this.tasks.get(taskId)?.value;
    if (!task) return;
    this.#noteServing(task);
    this.#usage.delete(task.nodeId);
    this.#touch('services', task.serviceId);
    this.#touch('stacks', task.stackId);
  }

  #noteServing(task: Task): void {
    const status = this.status(task.id);
    const wanted = task.desired === DesiredState.DESIRED_STATE_RUNNING;
    if (wanted && isServing({ state: effectiveState(task, status), status }))
      this.#serving.add(task.serviceId, task.id);
    else this.#serving.remove(task.serviceId, task.id);
  }

  #staticChanged(statics: StaticTasks | undefined): void {
    if (!statics) return;
    this.#usage.delete(statics.nodeId);
    this.#touch('nodes', statics.nodeId);
  }
}

/** A task that was given to a node holds what it asked for until it has ended; an orphan until its node says so. */
export function holdsResources(task: Task, status: TaskStatus | undefined): boolean {
  if (task.state === TaskState.TASK_STATE_PENDING) return false;
  return !isEnded(status?.state ?? TaskState.TASK_STATE_ASSIGNED);
}

/** Static tasks that hold resources: not a one-shot one that has ended. */
function runningStatics(statics: StaticTasks | undefined): Task[] {
  if (!statics) return [];
  const ended = new Set(statics.statuses.filter(({ state }) => isEnded(state)).map(({ taskId }) => taskId));
  return statics.tasks.filter(({ id }) => !ended.has(id));
}

function held<T>(table: Table<T>, ids: Iterable<string>): Held<T>[] {
  const found: Held<T>[] = [];
  for (const id of ids) {
    const record = table.get(id);
    if (record) found.push(record);
  }
  return found;
}

function nothingTouched(): Touched {
  return { stacks: new Set(), services: new Set(), tasks: new Set(), assignments: new Map(), nodes: new Set() };
}

function nameOf(record: ServiceRecord): string {
  return record.service?.name ?? '';
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
