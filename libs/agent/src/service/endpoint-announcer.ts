import type { rpc } from '@berth/contracts';
import type { Endpoint } from '@berth/contracts/registry';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { Announcement } from '../domain/announcement.ts';
import { announcement, endpointKey } from '../domain/announcement.ts';
import type { ClientOf } from './dispatch-client.ts';
import { RetryPause } from './retry.ts';
import { Wake } from './wake.ts';

const coalesceMs = 10;

export interface EndpointAnnouncerOptions {
  readonly client: ClientOf<typeof rpc.presence>;
  /** Does the dispatch session tell now what is ours? */
  readonly synced: () => boolean;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
}

/**
 * Containers announce themselves: keeps the registry's endpoints of this node equal to what runs. All of them at each new
 * registry connection, and that only when a dispatch session has confirmed them; else the difference.
 */
export class EndpointAnnouncer {
  readonly #o: EndpointAnnouncerOptions;
  readonly #wake: Wake;
  #wanted: ReadonlyMap<string, Endpoint> | undefined;
  /** What the registry has acknowledged; undefined: unknown, so all is announced. */
  #announced: ReadonlyMap<string, Endpoint> | undefined;
  #connections = 0;
  /** Later lives have greater ones; where the host's clock went back, the registry says which one stands. */
  #session: number;
  #sequence = 0;

  constructor(options: EndpointAnnouncerOptions) {
    this.#o = options;
    this.#wake = new Wake(options.clock);
    this.#session = options.clock.wall();
  }

  /** All endpoints there are to be. */
  set(endpoints: readonly Endpoint[]): void {
    const wanted = new Map(endpoints.map((endpoint) => [endpointKey(endpoint), endpoint]));
    const known = this.#announced !== undefined && this.#wanted !== undefined;
    if (known && announcement(this.#wanted, wanted) === undefined) return;
    this.#wanted = wanted;
    this.#wake.notify();
  }

  /** A new connection to a registry: what it holds of us is to be said anew. */
  reconnected(): void {
    this.#connections += 1;
    this.#announced = undefined;
    this.#wake.notify();
  }

  /** The dispatch session has become synced. */
  confirmed(): void {
    this.#wake.notify();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, clock, rng, log } = this.#o;
    const retry = new RetryPause({ clock, rng });
    while (!signal.aborted) {
      await this.#wake.wait(Number.POSITIVE_INFINITY, signal);
      await clock.sleep(coalesceMs, signal);
      if (signal.aborted) return;
      const wanted = this.#wanted;
      const connection = this.#connections;
      const request = this.#next();
      if (request === undefined || wanted === undefined) continue;
      try {
        this.#sequence += 1;
        await client.announceEndpoints({ ...request, session: this.#session, sequence: this.#sequence }, { signal });
        // A connection that came meanwhile asks for all again.
        if (connection === this.#connections) this.#announced = wanted;
        retry.succeeded();
        log.debug({ full: request.full, endpoints: request.endpoints.length }, 'endpoints announced');
        this.#wake.notify();
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        // It may have been carried out, all or in part: what is held of us is not known any more.
        this.#announced = undefined;
        if (error.reason === 'STALE_ANNOUNCEMENT') this.#session = Number(error.details['session']) + 1;
        if (retry.first) log.warn({ error: error.message }, 'endpoints wait for the registry');
        this.#wake.notify();
        await retry.pause(signal);
      }
    }
  }

  #next(): Announcement | undefined {
    if (this.#wanted === undefined) return undefined;
    if (this.#announced !== undefined) return announcement(this.#announced, this.#wanted);
    if (!this.#o.synced()) return undefined;
    return { full: true, endpoints: [...this.#wanted.values()], withdrawn: [] };
  }
}
