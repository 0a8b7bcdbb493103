import type { Leadership, TxnGroup } from '@berth/kernel';
import { isBerthError, newId, packTxns } from '@berth/kernel';
import { backoff } from '@berth/workload';
import { Observations } from '../../domain/orchestration/observations.ts';
import { decideRound } from '../../domain/round.ts';
import { leaderKey } from '../../domain/state/families.ts';
import { writesOf } from '../../domain/writes.ts';
import type { Mirrors } from '../mirrors.ts';
import type { SchedulerOptions, SchedulerSettings } from '../options.ts';
import { Dirty } from './dirty.ts';

/** Pause before standing again after a reign that ended with an error. */
const retryMs = 500;
/** Wait after a conflict, doubled for each in a row. */
const conflictDelayMs = 10;
const conflictDelayMaxMs = 1_000;

/**
 * The leader's loop: observe the mirrors, decide a round, act in fenced txns, wait until the mirror shows what was written,
 * decide again. Only one replica leads; the others wait in the election.
 */
export class Orchestrator {
  readonly #options: SchedulerOptions;
  readonly #settings: SchedulerSettings;
  readonly #mirrors: Mirrors;
  #leads = false;

  constructor(options: SchedulerOptions, settings: SchedulerSettings, mirrors: Mirrors) {
    this.#options = options;
    this.#settings = settings;
    this.#mirrors = mirrors;
  }

  get leads(): boolean {
    return this.#leads;
  }

  /** Stands for election and leads, again and again, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, instance, log, store } = this.#options;
    const { leaderTtlMs: ttlMs } = this.#settings;
    while (!signal.aborted) {
      try {
        const leadership = await store.campaign(leaderKey, instance, { ttlMs, signal });
        await this.#reign(leadership, signal);
      } catch (error) {
        if (signal.aborted) return;
        // A write whose outcome is unknown ends the reign: the next one's fence keeps it from taking effect late.
        if (!isBerthError(error)) throw error;
        log.warn({ err: error }, 'the reign ended; standing again');
        await clock.sleep(retryMs, signal);
      }
    }
  }

  async #reign(leadership: Leadership, signal: AbortSignal): Promise<void> {
    const { instance, log, observer } = this.#options;
    const reign = new Reign(this.#options, this.#settings, this.#mirrors, leadership);
    log.info({ instance }, 'leads');
    this.#leads = true;
    observer?.leading(true);
    try {
      await reign.run(AbortSignal.any([signal, leadership.lost]));
    } finally {
      this.#leads = false;
      observer?.leading(false);
      log.info({ instance }, 'leads no longer');
      await leadership.resign();
    }
  }
}

/** One reign: what it has seen begins and ends with it. */
class Reign {
  readonly #options: SchedulerOptions;
  readonly #settings: SchedulerSettings;
  readonly #mirrors: Mirrors;
  readonly #leadership: Leadership;
  readonly #observations = new Observations();
  readonly #dirty = new Dirty();
  #conflicts = 0;
  #wake: (() => void) | undefined;

  constructor(options: SchedulerOptions, settings: SchedulerSettings, mirrors: Mirrors, leadership: Leadership) {
    this.#options = options;
    this.#settings = settings;
    this.#mirrors = mirrors;
    this.#leadership = leadership;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { feed } = this.#mirrors;
    const off = [
      feed.onStep(() => this.#ownStep()),
      this.#mirrors.onRegistry(({ announced, nodes }) => this.#registryStep(nodes, announced)),
      this.#mirrors.onNetworks((stacks) => this.#networksStep(stacks)),
    ];
    try {
      // What the leader before wrote must be seen first: all of it is older than this election.
      const { entry } = await this.#options.store.get(leaderKey);
      await this.#reach(entry?.createRevision ?? 0, signal);
      this.#everything();
      while (!signal.aborted) {
        await this.#nextWork(signal);
        if (signal.aborted) return;
        await this.#options.clock.sleep(this.#settings.batchMs, signal);
        if (this.#mirrors.synced && !signal.aborted) await this.#round(signal);
      }
    } finally {
      for (const end of off) end();
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { clock, observer, rng } = this.#options;
    const { networks, networksSynced, nodes, records } = this.#mirrors;
    const nowMs = clock.monotonic();
    this.#dirty.due(nowMs);
    const round = decideRound({
      ...this.#dirty.take(),
      records,
      nodes: nodes.view(records),
      candidates: () => nodes.candidates(records),
      observations: this.#observations,
      announced: (taskId) => nodes.announced(taskId),
      networksLeft: (stackId) => (networksSynced ? networks.has(stackId) : undefined),
      limits: this.#settings.limits,
      nowMs,
    });
    for (const [serviceId, atMs] of round.wakes) this.#dirty.wakeAt(serviceId, atMs);
    if (round.more) this.#dirty.placement();
    const supplies = { newId: () => newId(rng), wallMs: Math.floor(clock.wall()) };
    const groups = [...round.stackActions, ...round.actions, ...round.assignments].flatMap((action) =>
      writesOf(records, action, supplies),
    );
    observer?.decided({ ms: clock.monotonic() - nowMs, groups: groups.length });
    if (groups.length > 0) await this.#act(groups, signal);
  }

  /** Writes a plan; what meets another state is dropped whole and decided again on what stands then. */
  async #act(groups: readonly TxnGroup[], signal: AbortSignal): Promise<void> {
    const { clock, observer, store } = this.#options;
    let written = 0;
    let conflict = false;
    for (const txn of packTxns(groups, this.#leadership.fence)) {
      if (signal.aborted) return;
      const { committed, revision } = await store.txn(txn);
      conflict = !committed;
      if (conflict) break;
      written = revision;
    }
    if (conflict) {
      observer?.conflict();
      this.#conflicts += 1;
      this.#everything();
      // The mirror is about to show what was in the way; or the reign is over.
      await clock.sleep(backoff(conflictDelayMs, this.#conflicts, conflictDelayMaxMs), signal);
    } else this.#conflicts = 0;
    // Deciding before the mirror shows what was written would do it twice.
    await this.#reach(written, signal);
  }

  /** Waits until the own mirror shows a revision of the store. */
  async #reach(revision: number, signal: AbortSignal): Promise<void> {
    const { feed } = this.#mirrors;
    while (!signal.aborted) {
      try {
        await feed.waitFor(this.#mirrors.at(revision), signal);
        if (this.#mirrors.at(revision)) return;
      } catch (error) {
        // Behind, or not synced yet: nothing is decided until it is.
        if (!isBerthError(error, 'Unavailable')) throw error;
      }
    }
  }

  #everything(): void {
    const { records } = this.#mirrors;
    const nowMs = this.#options.clock.monotonic();
    for (const { value } of records.tasks.values()) this.#observe(value.id, nowMs);
    for (const id of records.stackIds()) this.#dirty.stack(id);
    for (const { value } of records.services.values()) this.#dirty.service(value.service?.id ?? '');
    this.#dirty.placement();
    this.#wake?.();
  }

  #ownStep(): void {
    const { touched } = this.#mirrors.view;
    if (!touched) {
      this.#everything();
      return;
    }
    const nowMs = this.#options.clock.monotonic();
    for (const id of touched.tasks) this.#observe(id, nowMs);
    for (const id of touched.stacks) this.#dirty.stack(id);
    for (const id of touched.services) this.#dirty.service(id);
    this.#lookAtNodes(touched.nodes);
    if (this.#dirty.any) this.#wake?.();
  }

  #registryStep(nodes: ReadonlySet<string>, announced: ReadonlySet<string>): void {
    const { records } = this.#mirrors;
    for (const taskId of announced) {
      const task = records.tasks.get(taskId)?.value;
      // What waits for callers to be told of it is a task that takes over from another.
      if (task && task.replaces !== '') this.#dirty.service(task.serviceId);
    }
    this.#lookAtNodes(nodes);
    // The registry may be back: what waited for its word goes on.
    if (nodes.size === 0 && announced.size === 0) this.#dirty.placement();
    if (this.#dirty.any) this.#wake?.();
  }

  /** What nodes are, or may be used for, has changed: their tasks may have to go, and global services may come. */
  #lookAtNodes(nodes: ReadonlySet<string>): void {
    if (nodes.size === 0) return;
    const { records } = this.#mirrors;
    for (const nodeId of nodes) for (const { value } of records.tasksOn(nodeId)) this.#dirty.service(value.serviceId);
    for (const id of records.globalServices) this.#dirty.service(id);
    this.#dirty.placement();
  }

  #networksStep(stacks: ReadonlySet<string>): void {
    for (const id of stacks) this.#dirty.stack(id);
    // The network-manager is back: what waited for its word goes on.
    if (stacks.size === 0) {
      const { records } = this.#mirrors;
      for (const id of records.stackIds()) if (records.stack(id)?.value.stack?.removing) this.#dirty.stack(id);
    }
    if (this.#dirty.any) this.#wake?.();
  }

  #observe(taskId: string, nowMs: number): void {
    const { records } = this.#mirrors;
    const task = records.tasks.get(taskId)?.value;
    if (task) this.#observations.note(taskId, records.stateOf(task), records.status(taskId)?.failedRuns ?? 0, nowMs);
    else this.#observations.forget(taskId);
  }

  /** Waits until something is to be looked at, or due, or the signal aborts. */
  async #nextWork(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { clock } = this.#options;
      this.#dirty.due(clock.monotonic());
      if (this.#dirty.any && this.#mirrors.synced) return;
      const nextMs = this.#dirty.nextWakeMs();
      await new Promise<void>((resolve) => {
        let cancel: (() => void) | undefined;
        const done = (): void => {
          this.#wake = undefined;
          cancel?.();
          signal.removeEventListener('abort', done);
          resolve();
        };
        this.#wake = done;
        signal.addEventListener('abort', done);
        if (nextMs !== undefined) cancel = clock.timer(Math.max(1, nextMs - clock.monotonic()), done);
      });
    }
  }
}
