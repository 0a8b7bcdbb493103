export interface BusMessage {
  readonly subject: string;
  readonly data: Uint8Array;
}

export interface LoggedEvent extends BusMessage {
  readonly sequence: number;
  readonly messageId: string;
}

export interface EventLogOptions {
  /** Subjects the log records. */
  readonly subjects: readonly string[];
  /** Default 24 h. */
  readonly maxAgeMs?: number;
  /** Default 1 GiB. */
  readonly maxBytes?: number;
  /** Time in which a message id is not recorded twice. Default 120,000. */
  readonly duplicateWindowMs?: number;
}

/** A durable, ordered log of one owner's events (a JetStream stream). */
export interface EventLog {
  /** Creates or updates the log. */
  ensure(options: EventLogOptions): Promise<void>;
  /** The newest event, if there is one. */
  last(): Promise<LoggedEvent | undefined>;
  /** Sequence after which the next append goes; also where all events have expired. */
  lastSequence(): Promise<number>;
  /** Appends after `expectedLastSequence`. Conflict with reason DEPOSED if the log has moved on, or holds the message id
   *  already: another publisher is at work, or an append of unknown outcome was recorded. Unavailable: it may or may not
   *  have been recorded; read `last()` before going on. */
  append(event: {
    readonly subject: string;
    readonly messageId: string;
    readonly data: Uint8Array;
    readonly expectedLastSequence: number;
  }): Promise<{ readonly sequence: number }>;
}

/** Publish and subscribe: fast, at most once. Loss costs time, never truth. */
export interface EventBus {
  readonly connected: boolean;
  /** Calls the listener at every connect and disconnect; the returned function ends it. */
  onConnection(listener: (connected: boolean) => void): () => void;
  /** Sends, if connected; silently lost otherwise. */
  publish(subject: string, data: Uint8Array): void;
  /** Messages from now on. Ends when the signal aborts; goes on by itself over reconnects. A slow reader loses the oldest
   *  beyond `pendingMax` (default 65,536). */
  subscribe(
    subject: string,
    options: { readonly signal: AbortSignal; readonly pendingMax?: number },
  ): AsyncIterable<BusMessage>;
  log(name: string): EventLog;
  close(): Promise<void>;
}
