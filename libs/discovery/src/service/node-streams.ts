import type { Heartbeat } from '@berth/contracts/registry';
import { PresenceState } from '@berth/contracts/registry';
import type { Clock, Rng } from '@berth/kernel';
import { newId } from '@berth/kernel';
import { presences } from '../domain/records.ts';
import type { PresenceTiming } from '../domain/timing.ts';
import type { ReplicaKeys } from './replica-keys.ts';

/** A timer so late says that this process stood still, not that the agents did. */
const lateMs = 500;

/** Why a stream is ended from here: another one of the node took its place, or the node is no longer of the cluster. */
export type StreamEnd = 'replaced' | 'removed';

/** One node's open stream. A heartbeat changes this and nothing else. */
export interface NodeStream {
  readonly id: string;
  readonly nodeId: string;
  readonly end: (why: StreamEnd) => void;
  heardAtMs: number;
  dispatchSynced: boolean;
  restarting: boolean;
  silent: boolean;
}

export interface NodeStreamsOptions {
  readonly replica: string;
  readonly keys: ReplicaKeys;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly timing: () => PresenceTiming;
}

/** The node streams that this replica holds. Heartbeats stay in memory; the store hears of a stream only when it starts,
 *  falls silent or ends, or when what its agent says of itself changes. */
export class NodeStreams {
  readonly #options: NodeStreamsOptions;
  readonly #streams = new Map<string, NodeStream>();

  constructor(options: NodeStreamsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** A node's stream starts; an older one of the same node is ended. */
  open(nodeId: string, end: (why: StreamEnd) => void): NodeStream {
    const { clock, rng } = this.#options;
    this.#streams.get(nodeId)?.end('replaced');
    const stream: NodeStream = {
      id: newId(rng),
      nodeId,
      end,
      heardAtMs: clock.monotonic(),
      dispatchSynced: false,
      restarting: false,
      silent: false,
    };
    this.#streams.set(nodeId, stream);
    this.#tell(stream, PresenceState.PRESENCE_STATE_ALIVE);
    return stream;
  }

  /** The node was taken out of the cluster. */
  removed(nodeId: string): void {
    this.#streams.get(nodeId)?.end('removed');
  }

  heard(stream: NodeStream, { dispatchSynced, restarting }: Heartbeat): void {
    stream.heardAtMs = this.#options.clock.monotonic();
    if (!stream.silent && stream.dispatchSynced === dispatchSynced && stream.restarting === restarting) return;
    stream.silent = false;
    stream.dispatchSynced = dispatchSynced;
    stream.restarting = restarting;
    if (this.#streams.get(stream.nodeId) === stream) this.#tell(stream, PresenceState.PRESENCE_STATE_ALIVE);
  }

  close(stream: NodeStream): void {
    if (this.#streams.get(stream.nodeId) !== stream) return;
    this.#streams.delete(stream.nodeId);
    this.#tell(stream, PresenceState.PRESENCE_STATE_ENDED);
  }

  /** Notices silence until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, timing } = this.#options;
    while (!signal.aborted) {
      const tickMs = timing().intervalMs / 2;
      const startMs = clock.monotonic();
      await clock.sleep(tickMs, signal);
      const nowMs = clock.monotonic();
      const late = nowMs - startMs > tickMs + lateMs;
      for (const stream of this.#streams.values()) {
        if (late) stream.heardAtMs = nowMs;
        if (stream.silent || nowMs - stream.heardAtMs < 2 * timing().intervalMs) continue;
        stream.silent = true;
        this.#tell(stream, PresenceState.PRESENCE_STATE_SILENT);
      }
    }
  }

  #tell(stream: NodeStream, state: PresenceState): void {
    const { replica, clock, keys } = this.#options;
    const { nodeId, id, dispatchSynced, restarting } = stream;
    const silentForMs = Math.max(0, Math.round(clock.monotonic() - stream.heardAtMs));
    const value = presences.encode({ nodeId, replica, stream: id, state, silentForMs, restarting, dispatchSynced });
    // A stream that lives says so over anything; one that is silent or over must not hide a newer one elsewhere.
    keys.set(presences.key(nodeId), value, { takeOver: state === PresenceState.PRESENCE_STATE_ALIVE });
  }
}
