import type { BusMessage, EventBus, EventLog, EventLogOptions, LoggedEvent } from '@berth/kernel';
import { AsyncQueue, BerthError } from '@berth/kernel';
import type { Append, MemoryBroker } from './memory-broker.ts';
import { matches } from './subject-match.ts';

const pendingMaxDefault = 65_536;

/** A client of a `MemoryBroker`, with a connection of its own. */
export class MemoryBus implements EventBus {
  readonly #broker: MemoryBroker;
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #subscriptions = new Set<{ readonly pattern: string; readonly queue: AsyncQueue<BusMessage> }>();
  #attached = true;
  #reported = true;

  constructor(broker: MemoryBroker) {
    this.#broker = broker;
    broker.attach(this);
    this.#reported = this.connected;
  }

  get connected(): boolean {
    return this.#attached && this.#broker.available;
  }

  /** Cuts this client off, or lets it reconnect. */
  setConnected(connected: boolean): void {
    this.#attached = connected;
    this.connectionChanged();
  }

  connectionChanged(): void {
    if (this.#reported === this.connected) return;
    this.#reported = this.connected;
    for (const listener of [...this.#listeners]) listener(this.connected);
  }

  onConnection(listener: (connected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  publish(subject: string, data: Uint8Array): void {
    if (this.connected) this.#broker.deliver({ subject, data });
  }

  receive(message: BusMessage): void {
    if (!this.connected) return;
    for (const { pattern, queue } of this.#subscriptions) {
      if (matches(pattern, message.subject)) queue.push(message);
    }
  }

  subscribe(
    subject: string,
    options: { readonly signal: AbortSignal; readonly pendingMax?: number },
  ): AsyncIterable<BusMessage> {
    const queue = new AsyncQueue<BusMessage>({ pendingMax: options.pendingMax ?? pendingMaxDefault });
    const subscription = { pattern: subject, queue };
    const end = (): void => {
      this.#subscriptions.delete(subscription);
      queue.close();
    };
    if (options.signal.aborted) queue.close();
    else this.#subscriptions.add(subscription);
    options.signal.addEventListener('abort', end, { once: true });
    return queue;
  }

  log(name: string): EventLog {
    const call = async <T>(work: () => T): Promise<T> => {
      if (!this.connected) throw new BerthError('Unavailable', 'the event bus is not connected');
      return work();
    };
    return {
      ensure: (options: EventLogOptions) => call(() => this.#broker.ensure(name, options)),
      last: (): Promise<LoggedEvent | undefined> => call(() => this.#broker.last(name)),
      lastSequence: () => call(() => this.#broker.lastSequence(name)),
      append: (event: Append) => call(() => ({ sequence: this.#broker.append(name, event) })),
    };
  }

  async close(): Promise<void> {
    for (const { queue } of this.#subscriptions) queue.close();
    this.#subscriptions.clear();
    this.#broker.detach(this);
    this.setConnected(false);
  }
}
