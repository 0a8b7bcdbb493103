import type { rpc } from '@berth/contracts';
import type { TaskStatus } from '@berth/contracts/workload';
import type { BerthError, Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { ClientOf } from './dispatch-client.ts';
import { RetryPause } from './retry.ts';
import { Wake } from './wake.ts';

/** Statuses that come within this time go in one batch. */
const coalesceMs = 20;
const batchMax = 500;
/** What the same request gets again, however often it is sent. */
const refusals: ReadonlySet<string> = new Set(['PermissionDenied', 'InvalidArgument']);

export interface StatusReporterOptions {
  readonly client: ClientOf<typeof rpc.dispatch>;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
}

/** Brings statuses to the scheduler, the latest of each task, until they are acknowledged. */
export class StatusReporter {
  readonly #o: StatusReporterOptions;
  readonly #wake: Wake;
  readonly #pending = new Map<string, TaskStatus>();

  constructor(options: StatusReporterOptions) {
    this.#o = options;
    this.#wake = new Wake(options.clock);
  }

  /** A newer status of a task takes the place of one that has not gone yet: at most one a task waits. */
  report(statuses: readonly TaskStatus[]): void {
    for (const status of statuses) this.#pending.set(status.taskId, status);
    this.#wake.notify();
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Sent and unchanged meanwhile: done. */
  #done(statuses: readonly TaskStatus[]): void {
    for (const status of statuses) {
      if (this.#pending.get(status.taskId) === status) this.#pending.delete(status.taskId);
    }
  }

  /** One status that is refused refuses its batch: found by halves, it must not hold up the others for ever. Returns how
   *  many to send next. */
  #refused(statuses: readonly TaskStatus[], error: BerthError): number {
    if (statuses.length > 1) return Math.ceil(statuses.length / 2);
    this.#o.log.error({ error: error.message, taskId: statuses[0]?.taskId }, 'the scheduler refuses a status');
    this.#done(statuses);
    return 1;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, clock, rng, log } = this.#o;
    const retry = new RetryPause({ clock, rng });
    let sizeMax = batchMax;
    while (!signal.aborted) {
      if (this.#pending.size === 0) await this.#wake.wait(Number.POSITIVE_INFINITY, signal);
      await clock.sleep(coalesceMs, signal);
      if (signal.aborted) return;
      const statuses = [...this.#pending.values()].slice(0, sizeMax);
      if (statuses.length === 0) continue;
      try {
        const { unknownTaskIds } = await client.reportStatus({ statuses }, { signal });
        this.#done(statuses);
        sizeMax = Math.min(batchMax, sizeMax * 2);
        if (unknownTaskIds.length > 0) log.debug({ tasks: unknownTaskIds }, 'statuses of tasks that are gone');
        retry.succeeded();
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        if (refusals.has(error.code)) {
          sizeMax = this.#refused(statuses, error);
          continue;
        }
        if (retry.first) log.warn({ error: error.message, tasks: statuses.length }, 'statuses wait for the scheduler');
        await retry.pause(signal);
      }
    }
  }
}
