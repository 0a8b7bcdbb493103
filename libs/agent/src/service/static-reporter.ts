import type { rpc } from '@berth/contracts';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { NodeTasks } from '../domain/node-tasks.ts';
import type { NodeIdentity } from '../domain/run-plan.ts';
import { taskOfAssignment } from '../domain/run-plan.ts';
import type { ClientOf } from './dispatch-client.ts';
import { RetryPause } from './retry.ts';
import { Wake } from './wake.ts';

const coalesceMs = 100;

export interface StaticReporterOptions {
  readonly client: ClientOf<typeof rpc.dispatch>;
  readonly tasks: NodeTasks;
  /** Whose tasks these are. */
  readonly node: Pick<NodeIdentity, 'nodeId'>;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
}

/** Keeps the scheduler's list of this manager's static tasks: the whole list at each change and at each new session. */
export class StaticReporter {
  readonly #o: StaticReporterOptions;
  readonly #wake: Wake;

  constructor(options: StaticReporterOptions) {
    this.#o = options;
    this.#wake = new Wake(options.clock);
  }

  changed(): void {
    this.#wake.notify();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, clock, rng, log } = this.#o;
    const retry = new RetryPause({ clock, rng });
    while (!signal.aborted) {
      await this.#wake.wait(Number.POSITIVE_INFINITY, signal);
      await clock.sleep(coalesceMs, signal);
      if (signal.aborted) return;
      // Only managers have any, and only they may report.
      if (this.#o.tasks.statics.length === 0) continue;
      try {
        await client.reportStatic(this.#list(), { signal });
        retry.succeeded();
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        if (retry.first) log.warn({ error: error.message }, 'static tasks wait to be reported');
        this.#wake.notify();
        await retry.pause(signal);
      }
    }
  }

  #list() {
    const { tasks, node } = this.#o;
    const own = tasks.statics.map((assignment) => ({ ...taskOfAssignment(assignment), nodeId: node.nodeId }));
    return {
      tasks: own,
      statuses: own.map((task) => tasks.status(task.id)).filter((status) => status !== undefined),
    };
  }
}
