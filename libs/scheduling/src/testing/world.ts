import { WriteSet } from '@berth/changes';
import type { Change, Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { Availability } from '@berth/contracts/scheduler';
import type { StackSpec, Task, TaskStatus } from '@berth/contracts/workload';
import { DesiredState, Health, TaskState, TaskStatus as TaskStatusMessage } from '@berth/contracts/workload';
import type { MirrorChange, StoredEntry, TxnGroup } from '@berth/kernel';
import { isEnded, stackScope, supersedes } from '@berth/workload';
import { eligibleNodes } from '../domain/orchestration/global.ts';
import { Observations } from '../domain/orchestration/observations.ts';
import type { Limits } from '../domain/orchestration/types.ts';
import { defaultLimits } from '../domain/orchestration/types.ts';
import type { Round } from '../domain/round.ts';
import { decideRound } from '../domain/round.ts';
import { acceptRemoval, acceptStack, givesWay, normalise } from '../domain/stack/accept.ts';
import { bindNodeOf } from '../domain/stack/binds.ts';
import { families, owner } from '../domain/state/families.ts';
import { Nodes } from '../domain/state/nodes.ts';
import { SchedulerView } from '../domain/view/scheduler-view.ts';
import { writesOf } from '../domain/writes.ts';

/** A scheduler's pure parts on a store that is a map, with agents that do what the test says: for tests of decisions. */
export class World {
  readonly view = new SchedulerView();
  readonly nodes = new Nodes();
  readonly limits: Limits;
  #observations = new Observations();
  readonly #entries = new Map<string, StoredEntry>();
  /** On how many networks callers are told of a task; as soon as it runs, unless the test says otherwise. */
  announced: (taskId: string) => number = () => Number.POSITIVE_INFINITY;
  /** Looks at what is written together. */
  onGroups: (groups: readonly TxnGroup[]) => void = () => {};
  revision = 1;
  nowMs = 1_000_000;
  /** Stacks that the network-manager still has networks of. */
  readonly networks = new Set<string>();
  #ids = 0;

  constructor(nodes: readonly Node[], limits: Limits = defaultLimits) {
    this.limits = limits;
    this.view.reset([]);
    this.setNodes(nodes);
  }

  get records(): SchedulerView['records'] {
    return this.view.records;
  }

  setNodes(nodes: readonly Node[]): void {
    const changes: Change[] = nodes.map((value) => ({
      scopes: [],
      key: `node/${value.id}`,
      resource: { $case: 'node', value },
    }));
    this.nodes.apply({ kind: 'reset', changes });
  }

  setAvailability(nodeId: string, availability: Availability): void {
    this.commit(new WriteSet(owner).put(families.availability, { nodeId, availability }).group());
  }

  apply(spec: StackSpec): 'unchanged' | 'written' {
    const acceptance = acceptStack(this.records, normalise(spec), {
      newId: this.#newId(),
      expectedVersion: undefined,
      bindNode: () => bindNodeOf(spec, this.nodes.present()),
      givesWay: (stackId) => givesWay(this.records, this.nodes.view(this.records), stackId),
      eligible: ({ constraints }) => eligibleNodes(this.nodes.view(this.records), constraints).length,
    });
    if (acceptance.kind === 'unchanged') return 'unchanged';
    for (const group of acceptance.groups) this.commit(group);
    return 'written';
  }

  remove(name: string, volumes = false): void {
    const acceptance = acceptRemoval(this.records, {
      namespace: 'default',
      name,
      volumes,
      newId: () => this.#newId(),
    });
    if (acceptance.kind !== 'write') return;
    for (const group of acceptance.groups) this.commit(group);
  }

  /** What a leader would decide now, looking at everything. */
  decide(): Round {
    for (const { value } of this.records.tasks.values()) {
      this.#observations.note(
        value.id,
        this.records.stateOf(value),
        this.records.status(value.id)?.failedRuns ?? 0,
        this.nowMs,
      );
    }
    return decideRound({
      records: this.records,
      nodes: this.nodes.view(this.records),
      candidates: () => this.nodes.candidates(this.records),
      observations: this.#observations,
      announced: (taskId) => this.announced(taskId),
      networksLeft: (stackId) => this.networks.has(stackId),
      stacks: new Set(this.records.stackIds()),
      services: new Set([...this.records.services.values()].map(({ value }) => value.service?.id ?? '')),
      limits: this.limits,
      nowMs: this.nowMs,
    });
  }

  /** A new leader: what the old one had seen is forgotten. */
  failOver(): void {
    this.#observations = new Observations();
  }

  /** Decides and writes until there is nothing left to do now; returns the number of rounds that wrote. `stopAfter` ends
   *  it after so many groups, as a crash would. */
  converge(stopAfter = Number.POSITIVE_INFINITY): number {
    let groups = 0;
    for (let rounds = 0; ; rounds += 1) {
      if (rounds > 500) throw new Error('does not come to rest');
      const { actions, assignments, stackActions } = this.decide();
      const all = [...stackActions, ...actions, ...assignments];
      if (all.length === 0) return rounds;
      const pending = all.flatMap((action) =>
        writesOf(this.records, action, { newId: () => this.#newId(), wallMs: this.nowMs }),
      );
      this.onGroups(pending);
      for (const group of pending) {
        if (groups === stopAfter) return rounds;
        groups += 1;
        this.commit(group);
      }
    }
  }

  /** Lets time pass, looking again at each moment that a decision asked for. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      this.converge();
      const wakes = [...this.decide().wakes.values()].filter((atMs) => atMs > this.nowMs && atMs <= end);
      if (wakes.length === 0) break;
      this.nowMs = Math.min(...wakes);
    }
    this.nowMs = end;
    this.converge();
  }

  /** Commits as a store would: whole, if all compares hold. */
  commit(group: TxnGroup): boolean {
    const holds = group.compares.every((compare) => {
      const held = this.#entries.get(compare.key);
      if (compare.kind === 'absent') return held === undefined;
      if (compare.kind === 'unchanged') return held?.modRevision === compare.modRevision;
      return held !== undefined;
    });
    if (!holds) return false;
    this.revision += 1;
    const changes = group.ops
      .map((op): MirrorChange => {
        const previous = this.#entries.get(op.key);
        if (op.kind === 'delete') {
          this.#entries.delete(op.key);
          return { kind: 'delete', key: op.key, ...(previous ? { previous } : {}) };
        }
        const entry = {
          key: op.key,
          value: op.value,
          modRevision: this.revision,
          createRevision: previous?.createRevision ?? this.revision,
        };
        this.#entries.set(op.key, entry);
        return { kind: 'put', entry, ...(previous ? { previous } : {}) };
      })
      .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
    this.view.apply(changes);
    return true;
  }

  keys(): string[] {
    return [...this.#entries.keys()].sort();
  }

  /** All tasks of a service, oldest first. */
  tasks(service: string): Task[] {
    return [...this.records.tasks.values()]
      .filter(({ value }) => value.service === service)
      .sort((a, b) => a.createRevision - b.createRevision)
      .map(({ value }) => value);
  }

  /** Those desired to run, by slot. */
  active(service: string): Task[] {
    return this.tasks(service)
      .filter(({ desired }) => desired === DesiredState.DESIRED_STATE_RUNNING)
      .sort((a, b) => a.slot - b.slot);
  }

  state(taskId: string): TaskState {
    const task = this.records.tasks.get(taskId)?.value;
    return task ? this.records.stateOf(task) : TaskState.TASK_STATE_UNSPECIFIED;
  }

  /** An agent reports the next status of a task. */
  report(taskId: string, status: Partial<TaskStatus>): void {
    const before = this.records.status(taskId);
    const task = this.records.tasks.get(taskId)?.value;
    if (!task) return;
    const run = status.run ?? before?.run ?? 1;
    const seq = run === before?.run ? before.seq + 1 : 1;
    const next = TaskStatusMessage.fromPartial({ ...before, taskId, ...status, run, seq });
    if (!supersedes(next, before)) return;
    this.commit(new WriteSet(owner).put(families.status, next).touch(stackScope(task.stackId)).group());
  }

  run(taskId: string): void {
    this.report(taskId, { state: TaskState.TASK_STATE_RUNNING, startedAtMs: 1, health: Health.HEALTH_UNSPECIFIED });
  }

  /** Agents do what is asked of them: start what should run, stop and remove what should not. `alive` says which nodes. */
  agents(alive: (nodeId: string) => boolean = () => true): void {
    for (const { value: task } of [...this.records.tasks.values()]) {
      const node = this.nodes.get(task.nodeId);
      if (!node || !alive(node.id) || node.status === NodeStatus.NODE_STATUS_LOST) continue;
      const state = this.state(task.id);
      if (task.desired === DesiredState.DESIRED_STATE_RUNNING) {
        if (state === TaskState.TASK_STATE_ASSIGNED) this.run(task.id);
      } else {
        const said = this.records.status(task.id)?.state ?? TaskState.TASK_STATE_ASSIGNED;
        if (!isEnded(said)) this.report(task.id, { state: TaskState.TASK_STATE_SHUTDOWN });
        if (task.desired === DesiredState.DESIRED_STATE_REMOVE && !this.records.status(task.id)?.removed) {
          this.report(task.id, { removed: true, state: TaskState.TASK_STATE_SHUTDOWN });
        }
      }
    }
  }

  /** Scheduler and agents in turn until both rest. */
  settle(alive?: (nodeId: string) => boolean): void {
    for (let turn = 0; turn < 200; turn += 1) {
      const before = this.revision;
      this.converge();
      this.agents(alive);
      if (this.revision === before) return;
    }
    throw new Error('scheduler and agents do not come to rest');
  }

  #newId(): string {
    this.#ids += 1;
    return `id${String(this.#ids).padStart(6, '0')}`;
  }
}

function keyOf(change: MirrorChange): string {
  return change.kind === 'put' ? change.entry.key : change.key;
}
