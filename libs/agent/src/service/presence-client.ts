import type { rpc } from '@berth/contracts';
import type { ConnectRequest, ConnectResponse, Node } from '@berth/contracts/registry';
import type { Hello } from '@berth/contracts/workload';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { ClientOf } from './dispatch-client.ts';
import type { MemberDirectory } from './members.ts';
import { RetryPause } from './retry.ts';
import { Wake } from './wake.ts';

/** Until the registry says otherwise. */
const heartbeatIntervalMs = 500;

export interface PresenceClientOptions {
  readonly client: ClientOf<typeof rpc.presence>;
  readonly hello: Hello;
  /** Describes the host, asked at each connect. */
  readonly describe: () => Promise<Node>;
  readonly synced: () => boolean;
  readonly members: MemberDirectory;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  readonly onConnected: () => void;
  /** All that the registry says. */
  readonly onTold: (response: ConnectResponse) => void;
  /** The registry says that this node was removed from the cluster. Called once; the client has ended then. */
  readonly onRemoved: () => void;
}

/** Holds the node's presence: one stream to a registry with heartbeats on it; the member list comes back. */
export class PresenceClient {
  readonly #o: PresenceClientOptions;
  readonly #beat: Wake;
  #intervalMs = heartbeatIntervalMs;
  #restarting = false;
  #connectionEnd = new AbortController();

  constructor(options: PresenceClientOptions) {
    this.#o = options;
    this.#beat = new Wake(options.clock);
  }

  /** Something that a heartbeat says has changed: one goes out at once. */
  changed(): void {
    this.#beat.notify();
  }

  /** The host is to be described anew: over a new connection. */
  reconnect(): void {
    this.#connectionEnd.abort();
  }

  /** The agent is about to restart: its silence is no loss for a while. Resolves when this has had time to go out. */
  async restarting(): Promise<void> {
    this.#restarting = true;
    this.#beat.notify();
    await this.#o.clock.sleep(50);
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, rng, log } = this.#o;
    const retry = new RetryPause({ clock, rng });
    while (!signal.aborted) {
      const connection = new AbortController();
      this.#connectionEnd = connection;
      try {
        const end = await this.#connection(AbortSignal.any([signal, connection.signal]), retry);
        if (end === 'removed') return this.#o.onRemoved();
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        // Whoever was removed may be cut off before the stream itself can say so.
        if (error.reason === 'NODE_LEFT') return this.#o.onRemoved();
        if (retry.first) log.warn({ error: error.message }, 'no connection to a registry; trying again');
      } finally {
        connection.abort();
      }
      await retry.pause(signal);
    }
  }

  async #connection(signal: AbortSignal, retry: RetryPause): Promise<'ended' | 'removed'> {
    const { log, client, members, onConnected, onTold } = this.#o;
    const node = await this.#o.describe();
    let first = true;
    for await (const response of client.connect(this.#requests(node, signal), { signal })) {
      if (response.removed) return 'removed';
      if (response.heartbeatIntervalMs > 0) this.#intervalMs = response.heartbeatIntervalMs;
      if (response.members.length > 0) await members.update(response.members);
      onTold(response);
      if (first) {
        log.info({ leaseMs: response.leaseMs, members: response.members.length }, 'connected to a registry');
        onConnected();
      }
      first = false;
      retry.succeeded();
    }
    return 'ended';
  }

  async *#requests(node: Node, signal: AbortSignal): AsyncIterable<ConnectRequest> {
    const { hello, synced } = this.#o;
    yield { step: { $case: 'hello', value: { hello, node } } };
    while (!signal.aborted) {
      yield {
        step: { $case: 'heartbeat', value: { dispatchSynced: synced(), restarting: this.#restarting } },
      };
      await this.#beat.wait(this.#intervalMs, signal);
    }
  }
}
