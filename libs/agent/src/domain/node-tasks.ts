import type { Endpoint } from '@berth/contracts/registry';
import type { Assignment } from '@berth/contracts/scheduler';
import type { TaskStatus } from '@berth/contracts/workload';
import { DesiredState } from '@berth/contracts/workload';
import type { ContainerState, Revision } from '@berth/kernel';
import { compareStatus, mayFollow, stateName } from '@berth/workload';
import { ContainerTable } from './container-table.ts';
import { endpointsOf } from './endpoints.ts';
import type { NodeIdentity } from './run-plan.ts';
import { taskOfAssignment } from './run-plan.ts';
import { staticHold } from './static-tasks.ts';
import type { AdoptedTask } from './task-network.ts';
import type { TaskRecord } from './task-record.ts';
import { caughtUp, hasEnded, recordFrom, withContainers } from './task-record.ts';
import { sameStatus, statusOf } from './task-status.ts';
import type { LaunchFailure, TaskAction, TaskMemo } from './task-step.ts';
import { afterFailure, afterLaunchFailure, afterSuccess, emptyMemo, stepTask } from './task-step.ts';

/** After a start the agent asks the control plane first; without any answer it goes on alone after this time. */
export const aloneAfterMs = 10_000;

interface Entry {
  record: TaskRecord;
  memo: TaskMemo;
  /** Last status given out. */
  status?: TaskStatus;
  /** It is given out again as it is: the scheduler has not got it. */
  resend?: boolean;
}

/** What a round comes to. */
export interface NodeDecision {
  readonly actions: readonly {
    readonly taskId: string;
    readonly assignment?: Assignment;
    readonly action: TaskAction;
  }[];
  /** Statuses that are new. */
  readonly statuses: readonly TaskStatus[];
  /** A static task's status is new. */
  readonly staticChanged: boolean;
  /** Endpoints of all confirmed tasks; undefined until a dispatch sync has confirmed any. */
  readonly endpoints: readonly Endpoint[] | undefined;
  /** Something that is to be kept on disk is new. */
  readonly recordsChanged: boolean;
  /** Monotonic time at which to decide again. */
  readonly wakeAt: number;
}

/** A decision in the making. */
type Round = {
  -readonly [Key in keyof Omit<NodeDecision, 'endpoints'>]: NodeDecision[Key] extends readonly (infer Item)[]
    ? Item[]
    : NodeDecision[Key];
};

/**
 * All tasks of a node: assignments (wanted), containers (observed) and records (remembered) in, actions out. Synchronous
 * and without a clock of its own; every change of the world is told to it, and `decide` may be called at any time: it asks
 * for at most one operation of a task at a time and never twice for the same.
 */
export class NodeTasks {
  readonly #node: NodeIdentity;
  readonly #table = new ContainerTable();
  readonly #entries = new Map<string, Entry>();
  #assigned = new Map<string, Assignment>();
  #statics = new Map<string, Assignment>();
  #staticsKnown = false;
  /** The engine was listed once: before, an absent container says nothing. */
  #listed = false;
  /** A dispatch session has told what is ours, once in this process. */
  #synced = false;
  /** Of the last step of a dispatch session, this process's or an earlier one's. */
  #revision: Revision | undefined;
  /** Monotonic time from which on the last assignments are started with no word from the control plane. */
  #aloneAt: number;
  /** Tasks that are to be stopped before anything new starts. */
  #barrier = new Set<string>();
  /** Containers may have ended that no event told of: the agent has just started, or the engine was away. */
  #unwatched = true;
  /** Tasks whose current run ended meanwhile. */
  readonly #unseenEnds = new Set<string>();

  constructor(options: {
    readonly node: NodeIdentity;
    readonly now: number;
    /** As kept on disk. */
    readonly records?: ReadonlyMap<string, TaskRecord>;
    readonly assignments?: readonly Assignment[];
    readonly revision?: Revision | undefined;
  }) {
    this.#node = options.node;
    this.#revision = options.revision;
    this.#aloneAt = options.now + aloneAfterMs;
    for (const [taskId, record] of options.records ?? []) this.#entries.set(taskId, { record, memo: emptyMemo });
    for (const a of options.assignments ?? []) this.#assigned.set(taskOfAssignment(a).id, a);
  }

  get containers(): ContainerTable {
    return this.#table;
  }

  get records(): ReadonlyMap<string, TaskRecord> {
    return new Map([...this.#entries].map(([taskId, entry]) => [taskId, entry.record]));
  }

  get assignments(): readonly Assignment[] {
    return [...this.#assigned.values()];
  }

  get revision(): Revision | undefined {
    return this.#revision;
  }

  /** Places on networks that tasks which are to run have had, as remembered. */
  heldPlaces(): readonly AdoptedTask[] {
    return [...this.#entries].flatMap(([taskId, { record }]) => {
      const task = this.#assigned.get(taskId)?.task;
      const over = task === undefined || record.final !== undefined || !this.#isWanted(taskId);
      return over || !record.joins?.length ? [] : [{ taskId, stackId: task.stackId, joins: record.joins }];
    });
  }

  get statics(): readonly Assignment[] {
    return [...this.#statics.values()];
  }

  get synced(): boolean {
    return this.#synced;
  }

  assignment(taskId: string): Assignment | undefined {
    return this.#assigned.get(taskId) ?? this.#statics.get(taskId);
  }

  /** The current container of a task: that of its latest run. */
  latest(taskId: string): readonly ContainerState[] {
    return this.#table.byTask().get(taskId) ?? [];
  }

  get isListed(): boolean {
    return this.#listed;
  }

  /** The engine's events were missed for a while. */
  unwatched(): void {
    this.#unwatched = true;
  }

  /** The engine's containers, all of them, are known as of a look that began with this ticket. */
  listed(ticket: number, containers: readonly ContainerState[]): void {
    this.#table.seeAll(ticket, containers);
    if (this.#unwatched) this.#noteUnseenEnds();
    this.#unwatched = false;
    if (this.#listed) return;
    this.#listed = true;
    // The scheduler may have been faster than the engine: what is not ours is known only now.
    if (this.#synced) this.#raiseBarrier();
  }

  #noteUnseenEnds(): void {
    const byTask = this.#table.byTask();
    for (const taskId of new Set([...this.#entries.keys(), ...byTask.keys()])) {
      const containers = byTask.get(taskId) ?? [];
      const record = withContainers(this.#entry(taskId, containers).record, containers);
      if (hasEnded(record, containers)) this.#unseenEnds.add(taskId);
    }
  }

  /** Tasks that run from the node's own manifest. A one-shot among them runs once in each life of the agent. */
  setStatics(assignments: readonly Assignment[]): void {
    this.#statics = new Map(assignments.map((a) => [taskOfAssignment(a).id, a]));
    this.#staticsKnown = true;
  }

  /** A finished one-shot is due again: the agent has started. Called once, after the first list. */
  rerunOneShots(taskIds: readonly string[]): void {
    const byTask = this.#table.byTask();
    for (const taskId of taskIds) {
      const containers = byTask.get(taskId) ?? [];
      if (containers.some((c) => c.phase.kind === 'running')) continue;
      const { record } = this.#entry(taskId, containers);
      const run = Math.max(record.run, 1);
      const ran = containers.length > 0 || record.seenRun > 0;
      this.#entries.set(taskId, {
        record: ran ? { ...record, run: run + 1, seq: 0, judgedRun: run, final: undefined, message: '' } : record,
        memo: emptyMemo,
      });
    }
  }

  /** One whole step of a dispatch session. */
  sync(step: {
    readonly full: boolean;
    readonly assignments: readonly Assignment[];
    readonly removed: readonly string[];
    /** First step of a session: what is not ours is stopped before anything new starts. */
    readonly first: boolean;
    readonly revision?: Revision | undefined;
  }): void {
    this.#revision = step.revision;
    if (step.full) this.#assigned = new Map();
    for (const taskId of step.removed) this.#assigned.delete(taskId);
    for (const assignment of step.assignments) {
      const { id } = taskOfAssignment(assignment);
      this.#assigned.set(id, assignment);
      const entry = this.#entries.get(id);
      if (entry) {
        const last = assignment.lastStatus;
        entry.record = caughtUp(entry.record, last);
        entry.resend = compareStatus(entry.record, last ?? { run: 0, seq: 0 }) > 0;
      }
    }
    this.#synced = true;
    // A delta on a session that goes on speaks of changes; all else says anew what is ours.
    if (step.first || step.full) this.#raiseBarrier();
  }

  #raiseBarrier(): void {
    for (const taskId of this.#table.byTask().keys()) {
      if (!this.#statics.has(taskId) && !this.#isWanted(taskId)) this.#barrier.add(taskId);
    }
  }

  launchPhase(taskId: string, phase: 'preparing' | 'starting'): void {
    const entry = this.#entries.get(taskId);
    const operation = entry?.memo.operation;
    if (entry && operation?.kind === 'launch') entry.memo = { ...entry.memo, operation: { ...operation, phase } };
  }

  succeeded(taskId: string): void {
    const entry = this.#entries.get(taskId);
    if (entry) entry.memo = afterSuccess(entry.memo);
  }

  launchFailed(taskId: string, failure: LaunchFailure, now: number): void {
    const entry = this.#entries.get(taskId);
    if (!entry) return;
    // Nobody could give a static task another place or another spec: it waits until what it lacks is there.
    const waits = failure.kind === 'rejected' && this.#statics.has(taskId);
    const counted: LaunchFailure = waits ? { kind: 'retry', message: failure.message } : failure;
    Object.assign(entry, afterLaunchFailure(entry.record, entry.memo, counted, now));
  }

  failed(taskId: string, now: number): void {
    const entry = this.#entries.get(taskId);
    if (entry) entry.memo = afterFailure(entry.memo, now);
  }

  /** Static tasks by service, each with its state and what it waits for. */
  staticStates(): ReadonlyMap<string, string> {
    return new Map(
      this.statics.map((assignment) => {
        const { id, service } = taskOfAssignment(assignment);
        const status = this.status(id);
        const detail = status?.message ? ` (${status.message})` : '';
        return [service, status ? `${stateName(status.state)}${detail}` : 'pending'];
      }),
    );
  }

  /** The running container of a static task. */
  runningStatic(service: string): ContainerState | undefined {
    const own = this.statics.find((assignment) => assignment.task?.service === service);
    return own && this.latest(taskOfAssignment(own).id).find((c) => c.phase.kind === 'running');
  }

  /** The last status given out. */
  status(taskId: string): TaskStatus | undefined {
    return this.#entries.get(taskId)?.status;
  }

  decide(now: number): NodeDecision {
    const byTask = this.#table.byTask();
    const round: Round = {
      actions: [],
      statuses: [],
      staticChanged: false,
      recordsChanged: false,
      wakeAt: Number.POSITIVE_INFINITY,
    };
    if (this.#listed) {
      for (const taskId of this.#barrier) if (!byTask.has(taskId)) this.#barrier.delete(taskId);
      if (!this.#synced && now < this.#aloneAt) round.wakeAt = this.#aloneAt;
      for (const taskId of this.#taskIds(byTask)) this.#stepOne(taskId, byTask.get(taskId) ?? [], now, round);
    }
    return { ...round, endpoints: this.#endpoints(byTask) };
  }

  #stepOne(taskId: string, containers: readonly ContainerState[], now: number, round: Round): void {
    const before = this.#entry(taskId, containers);
    const assignment = this.assignment(taskId);
    const hold = this.#holdOf(taskId, before.record, now);
    const record = withContainers(before.record, containers);
    const unseenEnd = this.#unseenEnds.has(taskId);
    const step = stepTask({ assignment, record, memo: before.memo, containers, now, hold, unseenEnd });
    if (step.record.judgedRun >= record.run) this.#unseenEnds.delete(taskId);
    round.wakeAt = Math.min(round.wakeAt, step.wakeAt ?? Number.POSITIVE_INFINITY);
    if (step.action) round.actions.push({ taskId, assignment, action: step.action });
    if (step.action?.kind === 'forget') {
      this.#entries.delete(taskId);
      this.#unseenEnds.delete(taskId);
      round.recordsChanged = true;
      return;
    }
    const after: Entry = { ...before, record: step.record, memo: step.memo };
    this.#entries.set(taskId, after);
    const status = assignment && this.#nextStatus(after, assignment, containers);
    if (status && this.#statics.has(taskId)) round.staticChanged = true;
    else if (status) round.statuses.push(status);
    round.recordsChanged ||= after.record !== before.record;
  }

  /** The status, numbered, if it says something new. */
  #nextStatus(entry: Entry, assignment: Assignment, containers: readonly ContainerState[]): TaskStatus | undefined {
    const last = entry.status;
    const now = statusOf({ assignment, record: entry.record, memo: entry.memo, containers });
    // Within a run states only grow: a start that is tried again is still a start.
    const { toldRun, toldState } = entry.record;
    const falls = toldRun === now.run && toldState !== 0 && !mayFollow(toldState, now.state);
    const status = falls ? { ...now, state: toldState } : now;
    if (last && sameStatus(last, status) && last.seq === entry.record.seq) {
      const { resend } = entry;
      entry.resend = false;
      return resend ? last : undefined;
    }
    entry.record = { ...entry.record, seq: entry.record.seq + 1, toldRun: status.run, toldState: status.state };
    entry.status = { ...status, seq: entry.record.seq };
    entry.resend = false;
    return entry.status;
  }

  #endpoints(byTask: ReadonlyMap<string, readonly ContainerState[]>): readonly Endpoint[] | undefined {
    if (!this.#synced || !this.#listed) return undefined;
    return [...this.#assigned].flatMap(([taskId, assignment]) => {
      const entry = this.#entries.get(taskId);
      return entry ? endpointsOf(assignment, entry.record, byTask.get(taskId) ?? [], this.#node) : [];
    });
  }

  /** Tasks to look at: before a first sync nothing is stopped only because it is unknown. */
  #taskIds(byTask: ReadonlyMap<string, readonly ContainerState[]>): readonly string[] {
    const ids = new Set([...this.#statics.keys(), ...this.#assigned.keys()]);
    const strays = [...byTask.keys(), ...this.#entries.keys()];
    for (const taskId of strays) {
      const isStatic = byTask.get(taskId)?.some((c) => c.labels['berth.static'] === 'true') ?? false;
      if (isStatic ? this.#staticsKnown : this.#synced) ids.add(taskId);
    }
    return [...ids];
  }

  #entry(taskId: string, containers: readonly ContainerState[]): Entry {
    const known = this.#entries.get(taskId);
    if (known) return known;
    return { record: recordFrom(this.assignment(taskId)?.lastStatus, containers), memo: emptyMemo };
  }

  #isWanted(taskId: string): boolean {
    return this.#assigned.get(taskId)?.task?.desired === DesiredState.DESIRED_STATE_RUNNING;
  }

  #holdOf(taskId: string, record: TaskRecord, now: number): string {
    const own = this.#statics.get(taskId);
    if (own) {
      return staticHold(own, this.statics, (id) => this.#entries.get(id)?.status, this.#oldStatics(own));
    }
    if (!this.#synced && now < this.#aloneAt) return 'asking the control plane first, for up to 10 s';
    if (record.seenRun === 0 && this.#barrier.size > 0) return 'stopping what is no longer its own first';
    return '';
  }

  /** Containers of an earlier version of a static task that are still there. */
  #oldStatics(own: Assignment): boolean {
    const task = taskOfAssignment(own);
    for (const [taskId, containers] of this.#table.byTask()) {
      if (taskId === task.id) continue;
      const older = (c: ContainerState): boolean =>
        c.labels['berth.static'] === 'true' && c.labels['berth.service'] === task.service;
      if (containers.some(older)) return true;
    }
    return false;
  }
}
