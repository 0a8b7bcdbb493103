import type { BusMessage, Clock, EventLogOptions, LoggedEvent } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { matches } from './subject-match.ts';

const defaults = { maxAgeMs: 24 * 3_600_000, maxBytes: 2 ** 30, duplicateWindowMs: 120_000 };

interface Recorded extends LoggedEvent {
  readonly at: number;
}

interface Log {
  options: Required<EventLogOptions>;
  events: Recorded[];
  lastSequence: number;
}

/** A connection, as the broker sees it. */
export interface BrokerClient {
  receive(message: BusMessage): void;
  connectionChanged(): void;
}

/** What is appended, and where the appender believes the log to end. */
export interface Append {
  readonly subject: string;
  readonly messageId: string;
  readonly data: Uint8Array;
  readonly expectedLastSequence: number;
}

/**
 * A message server in memory, with NATS's semantics: subscribers get a message at most once, also one that a log then
 * refuses; a log keeps its events in order. Faults for tests: `setAvailable`, `copies`.
 */
export class MemoryBroker {
  readonly #clock: Clock;
  readonly #logs = new Map<string, Log>();
  readonly #clients = new Set<BrokerClient>();
  #available = true;
  /** How often a message reaches a subscriber: 0 loses it, 2 doubles it. Default: once. */
  copies: (message: BusMessage) => number = () => 1;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
  }

  get available(): boolean {
    return this.#available;
  }

  attach(client: BrokerClient): void {
    this.#clients.add(client);
  }

  detach(client: BrokerClient): void {
    this.#clients.delete(client);
  }

  /** While false, all clients are disconnected. Logs stay; what is published meanwhile is lost. */
  setAvailable(available: boolean): void {
    this.#available = available;
    for (const client of [...this.#clients]) client.connectionChanged();
  }

  /** All events that a log still holds. */
  events(log: string): readonly LoggedEvent[] {
    return this.#log(log).events;
  }

  /** Removes all events of a log; its sequence goes on. */
  purge(log: string): void {
    this.#log(log).events = [];
  }

  deliver(message: BusMessage): void {
    const copies = this.copies(message);
    for (const client of [...this.#clients]) {
      for (let i = 0; i < copies; i++) client.receive(message);
    }
  }

  ensure(name: string, options: EventLogOptions): void {
    const complete = { ...defaults, ...options };
    const log = this.#logs.get(name);
    if (log) log.options = complete;
    else this.#logs.set(name, { options: complete, events: [], lastSequence: 0 });
  }

  last(name: string): LoggedEvent | undefined {
    return this.#log(name).events.at(-1);
  }

  lastSequence(name: string): number {
    return this.#log(name).lastSequence;
  }

  append(name: string, { subject, messageId, data, expectedLastSequence }: Append): number {
    const log = this.#log(name);
    if (!log.options.subjects.some((pattern) => matches(pattern, subject))) {
      throw new BerthError('InvalidArgument', `log ${name} does not record ${subject}`, { reason: 'WRONG_SUBJECT' });
    }
    this.deliver({ subject, data });
    const nowMs = this.#clock.monotonic();
    const known = log.events.some(
      (event) => event.messageId === messageId && nowMs - event.at < log.options.duplicateWindowMs,
    );
    // Known already means that somebody else appended it.
    if (known || log.lastSequence !== expectedLastSequence) {
      throw new BerthError('Conflict', `log ${name} ends at ${log.lastSequence}, not at ${expectedLastSequence}`, {
        reason: 'DEPOSED',
      });
    }
    log.lastSequence += 1;
    log.events.push({ subject, messageId, data, sequence: log.lastSequence, at: nowMs });
    return log.lastSequence;
  }

  #log(name: string): Log {
    const log = this.#logs.get(name);
    if (!log) throw new BerthError('NotFound', `there is no log ${name}`, { reason: 'NO_LOG' });
    const { maxAgeMs, maxBytes } = log.options;
    log.events = log.events.filter((event) => this.#clock.monotonic() - event.at < maxAgeMs);
    let bytes = log.events.reduce((sum, event) => sum + event.data.length, 0);
    while (bytes > maxBytes) bytes -= log.events.shift()?.data.length ?? 0;
    return log;
  }
}
