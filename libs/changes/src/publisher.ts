import type {
  Clock,
  EventBus,
  EventLogOptions,
  Leadership,
  LoggedEvent,
  Logger,
  MirrorStep,
  Store,
} from '@berth/kernel';
import { BerthError, isBerthError } from '@berth/kernel';
import { logOf } from '@berth/workload';
import { AppendWindow } from './append-window.ts';
import type { ChangeLike } from './change.ts';
import type { ChangeEvent } from './cloud-event.ts';
import { decodeChangeEvent, encodeBeacon, encodeChangeEvent, encodeHead, messageIdOf } from './cloud-event.ts';
import { EventPlan, isAfter } from './event-plan.ts';
import { HeadRepeater } from './head-repeater.ts';
import { eventSubjects } from './subjects.ts';
import type { View } from './view.ts';

const beaconIntervalMs = 1_000;
const retryMs = 500;
const partBytesMaxDefault = 512 * 1_024;
const leaseTtlMsDefault = 5_000;

export interface PublisherOptions<C extends ChangeLike> {
  readonly owner: string;
  readonly store: Store;
  readonly bus: EventBus;
  /** Makes a view of its own: publishing looks at the past, serving at the present. */
  readonly view: () => View<C>;
  /** A change as it travels; leave out what must not travel (specs, environments, secret values). */
  readonly toJson: (change: C) => unknown;
  /** Name of this replica, for show. */
  readonly candidate: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Limits of the owner's log. */
  readonly limits?: Omit<EventLogOptions, 'subjects'>;
  /** Default 5,000: so long may events be late when a publisher dies. */
  readonly leaseTtlMs?: number;
  /** Default 512 KiB. */
  readonly partBytesMax?: number;
}

/**
 * Publishes an owner's changes: each (revision, scope) once and in order, whoever publishes and however often it is
 * killed. All replicas run it, one is elected. The log's own last event says where to go on, its sequence fences out a
 * deposed publisher.
 */
export class Publisher<C extends ChangeLike> {
  readonly #options: PublisherOptions<C>;
  readonly #subjects: ReturnType<typeof eventSubjects>;
  #publishedUpTo: { readonly epoch: string; readonly revision: number } | undefined;
  #leading = false;

  constructor(options: PublisherOptions<C>) {
    this.#options = options;
    this.#subjects = eventSubjects(options.owner);
  }

  /** This replica is the elected one. */
  get leading(): boolean {
    return this.#leading;
  }

  /** All changes up to here have been published by this replica; undefined while it does not publish. */
  get publishedUpTo(): { readonly epoch: string; readonly revision: number } | undefined {
    return this.#publishedUpTo;
  }

  /** Until the signal aborts; rejects when the store or the bus refuses for good. */
  async run(signal: AbortSignal): Promise<void> {
    const { store, owner, candidate, leaseTtlMs = leaseTtlMsDefault } = this.#options;
    while (!signal.aborted) {
      let leadership: Leadership;
      try {
        leadership = await store.campaign(`${owner}/leader/publisher`, candidate, { ttlMs: leaseTtlMs, signal });
      } catch (error) {
        if (isBerthError(error, 'Cancelled')) return;
        throw error;
      }
      this.#leading = true;
      const ended = new AbortController();
      const reign = AbortSignal.any([signal, leadership.lost, ended.signal]);
      const heads = new HeadRepeater();
      const ticking = this.#tick(heads, reign);
      try {
        await this.#reign(leadership, heads, reign);
      } finally {
        this.#leading = false;
        this.#publishedUpTo = undefined;
        ended.abort();
        await ticking;
        await resign(leadership);
      }
    }
  }

  /** Publishes until deposed. */
  async #reign(leadership: Leadership, heads: HeadRepeater, reign: AbortSignal): Promise<void> {
    const { bus, clock, log } = this.#options;
    let failures = 0;
    while (!reign.aborted) {
      if (this.#publishedUpTo) failures = 0;
      this.#publishedUpTo = undefined;
      // What was sent over a connection that broke may or may not be recorded: each connection begins with the log's end.
      const broken = new AbortController();
      const endListening = bus.onConnection(() => broken.abort());
      try {
        if (bus.connected) {
          if (!(await this.#stillElected(leadership))) {
            log.warn({}, 'publisher: deposed, another one publishes');
            return;
          }
          await this.#publish(heads, AbortSignal.any([reign, broken.signal]));
        }
      } catch (error) {
        if (isBerthError(error, 'Conflict', 'DEPOSED')) {
          log.info({ err: error }, 'publisher: the log has moved on, reading its end again');
        } else if (isBerthError(error, 'Unavailable') || isBerthError(error, 'NotFound', 'NO_LOG')) {
          failures += 1;
          log[failures === 1 ? 'warn' : 'debug']({ err: error }, 'publisher: store or bus unavailable, trying again');
        } else throw error;
      } finally {
        endListening();
      }
      await clock.sleep(retryMs, reign);
    }
  }

  async #publish(heads: HeadRepeater, ended: AbortSignal): Promise<void> {
    const { bus, clock, owner, limits } = this.#options;
    const log = bus.log(logOf(owner));
    await log.ensure({ ...limits, subjects: [this.#subjects.logged] });
    const last = await log.last();
    let position = last && this.#ownEvent(last);
    const lost = last !== undefined && position === undefined;
    const failed = new AbortController();
    const signal = AbortSignal.any([ended, failed.signal]);
    const appends = new AppendWindow(log, last?.sequence ?? (await log.lastSequence()), () => failed.abort());
    const plan = this.#newPlan();
    const steps = lost
      ? this.#options.store.mirror(`${owner}/`, { signal })
      : await this.#follow(plan, position, signal);
    for await (const step of steps) {
      if (signal.aborted) break;
      const { epoch, revision } = step.revision;
      if (step.kind === 'reset') plan.reset(step.entries);
      const events = step.kind === 'reset' ? plan.resets(epoch, position) : plan.events(epoch, revision, step.changes);
      for (const event of events) {
        // Only right after the start: what the last publisher had done already.
        if (!isAfter(event, position)) continue;
        await appends.append({
          subject: this.#subjects.changes(event.scope),
          messageId: messageIdOf(event),
          data: encodeChangeEvent(event),
        });
        position = event;
        heads.changed(event, clock.monotonic());
      }
      appends.whenRecorded(() => {
        if (!signal.aborted) this.#publishedUpTo = step.revision;
      });
    }
    appends.throwFailure();
  }

  /** The log's last event, if it is one of this owner's; from any other nobody can tell where publishing has come to. */
  #ownEvent(last: LoggedEvent): ChangeEvent | undefined {
    const { log, owner } = this.#options;
    try {
      const event = decodeChangeEvent(last.data);
      if (event.owner === owner) return event;
    } catch (error) {
      if (!isBerthError(error, 'InvalidArgument', 'BAD_EVENT')) throw error;
    }
    log.error({ sequence: last.sequence, subject: last.subject }, 'the log ends with an event of somebody else');
    return undefined;
  }

  /** The store's steps after the position, with the plan made ready for them. */
  async #follow(
    plan: EventPlan<C>,
    position: ChangeEvent | undefined,
    signal: AbortSignal,
  ): Promise<AsyncIterable<MirrorStep>> {
    const { store, owner } = this.#options;
    const epoch = await store.epoch();
    const whole = store.mirror(`${owner}/`, { signal });
    // A run of resets that was broken off is taken up by resets.
    if (position && (position.epoch !== epoch || position.more)) return whole;
    // The position's own revision is done again, for scopes that it may lack.
    const before = position ? position.revision - 1 : 0;
    try {
      const past = before > 0 ? await store.list(`${owner}/`, { atRevision: before }) : { entries: [] };
      plan.reset(past.entries);
    } catch (error) {
      if (isBerthError(error, 'Conflict', 'COMPACTED')) return whole;
      throw error;
    }
    return store.mirror(`${owner}/`, { signal, since: { epoch, revision: before } });
  }

  #newPlan(): EventPlan<C> {
    const { owner, view, toJson, partBytesMax = partBytesMaxDefault } = this.#options;
    return new EventPlan({ owner, view: view(), toJson, partBytesMax });
  }

  async #stillElected({ fence }: Leadership): Promise<boolean> {
    return (await this.#options.store.txn({ compares: [fence], ops: [] })).committed;
  }

  /** Beacon and repeated heads, as long as events get through. */
  async #tick(heads: HeadRepeater, signal: AbortSignal): Promise<void> {
    const { bus, clock, owner } = this.#options;
    while (!signal.aborted) {
      if (this.#publishedUpTo) {
        const { epoch, revision } = this.#publishedUpTo;
        bus.publish(this.#subjects.beacon, encodeBeacon({ owner, epoch, publishedUpTo: revision }));
        for (const head of heads.due(clock.monotonic())) {
          bus.publish(this.#subjects.head(head.scope), encodeHead({ owner, ...head }));
        }
      }
      await clock.sleep(beaconIntervalMs, signal);
    }
  }
}

async function resign(leadership: Leadership): Promise<void> {
  try {
    await leadership.resign();
  } catch (error) {
    // The lease runs out by itself.
    if (!(error instanceof BerthError)) throw error;
  }
}
