import type { BusMessage, Clock, EventBus, Logger, Rng } from '@berth/kernel';
import { AsyncQueue, BerthError } from '@berth/kernel';
import type { ConnectionOptions, NatsConnection, Status, Subscription } from 'nats';
import { connect, DebugEvents, Events } from 'nats';
import { toBerthError } from './errors.ts';
import { NatsLog } from './nats-log.ts';

/** PEM. The certificate's DNS name is mapped to the user and its permissions. */
export interface NatsTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface NatsOptions {
  /** `host:port`; asked anew at every connect. None known yet: it is tried again. */
  readonly servers: () => readonly string[];
  /** Asked anew at every connect, so that a renewed certificate is used. */
  readonly tls?: () => NatsTls;
  /** DNS name that the server's certificate must carry, whatever its address. Default: the server's host. */
  readonly serverName?: string;
  /** Shown in the server's connection list. */
  readonly name?: string;
  /** Answers to requests come under this subject; the user must be allowed to subscribe to `<inboxPrefix>.>`. Default `_INBOX`. */
  readonly inboxPrefix?: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Deadline of a request to a log. Default 5,000. */
  readonly callTimeoutMs?: number;
}

const callTimeoutMsDefault = 5_000;
const pendingMaxDefault = 65_536;
/** Between attempts to connect; drawn anew each time, so that not all clients return at once. */
const reconnectMs = { wait: 250, jitter: 250 };

interface Subscriber {
  readonly subject: string;
  readonly queue: AsyncQueue<BusMessage>;
  /** On the present connection. */
  current: Subscription | undefined;
}

/**
 * Connects to NATS, now and after every loss, until `close()`; it does not wait for the connection. A server that falls
 * silent is noticed within 3 s.
 */
export function connectNats(options: NatsOptions): NatsBus {
  return new NatsBus(options);
}

/** The kernel's EventBus over NATS. */
export class NatsBus implements EventBus {
  readonly #options: NatsOptions;
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #subscribers = new Set<Subscriber>();
  readonly #closed = new AbortController();
  readonly #ended: Promise<void>;
  #connection: NatsConnection | undefined;
  #connected = false;

  constructor(options: NatsOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  get connected(): boolean {
    return this.#connected;
  }

  onConnection(listener: (connected: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  publish(subject: string, data: Uint8Array): void {
    // The vendor's client would keep it and send it after the next reconnect, when it is old.
    if (this.#connected) this.#connection?.publish(subject, data);
  }

  subscribe(
    subject: string,
    options: { readonly signal: AbortSignal; readonly pendingMax?: number },
  ): AsyncIterable<BusMessage> {
    const { signal, pendingMax = pendingMaxDefault } = options;
    const queue = new AsyncQueue<BusMessage>({ pendingMax });
    const subscriber: Subscriber = { subject, queue, current: undefined };
    const end = (): void => {
      this.#subscribers.delete(subscriber);
      if (this.#connection && !this.#connection.isClosed()) subscriber.current?.unsubscribe();
      queue.close();
    };
    if (signal.aborted || this.#closed.signal.aborted) queue.close();
    else {
      this.#subscribers.add(subscriber);
      this.#attach(subscriber);
      signal.addEventListener('abort', end, { once: true });
    }
    return queue;
  }

  log(name: string): NatsLog {
    return new NatsLog({
      name,
      callTimeoutMs: this.#options.callTimeoutMs ?? callTimeoutMsDefault,
      connection: () => {
        if (this.#connection && this.#connected) return this.#connection;
        throw new BerthError('Unavailable', 'there is no connection to NATS');
      },
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#connection?.close();
    await this.#ended;
    for (const { queue } of this.#subscribers) queue.close();
    this.#subscribers.clear();
  }

  /** Keeps a connection until closed. The vendor's client could reconnect by itself, but with its first certificate. */
  async #run(): Promise<void> {
    const { clock, rng, logger } = this.#options;
    let failures = 0;
    while (!this.#closed.signal.aborted) {
      try {
        const connection = await connect(connectionOptions(this.#options));
        failures = 0;
        await this.#use(connection);
      } catch (error) {
        failures += 1;
        logger[failures === 1 ? 'warn' : 'debug'](
          { err: error, servers: this.#options.servers() },
          'NATS cannot be reached, trying again',
        );
      }
      const pause = reconnectMs.wait + rng.next() * reconnectMs.jitter;
      await clock.sleep(pause * Math.min(1 + failures, 8), this.#closed.signal);
    }
  }

  async #use(connection: NatsConnection): Promise<void> {
    if (this.#closed.signal.aborted) return connection.close();
    this.#connection = connection;
    for (const subscriber of this.#subscribers) this.#attach(subscriber);
    this.#setConnected(true);
    // The status iterator does not end with the connection.
    void this.#report(connection.status());
    const error = await connection.closed();
    if (error) this.#options.logger.warn({ err: error }, 'NATS connection given up');
    this.#setConnected(false);
    this.#connection = undefined;
    for (const subscriber of this.#subscribers) subscriber.current = undefined;
  }

  async #report(statuses: AsyncIterable<Status>): Promise<void> {
    for await (const status of statuses) this.#onStatus(status);
  }

  #onStatus(status: Status): void {
    const { logger } = this.#options;
    switch (status.type) {
      case Events.Disconnect:
      case DebugEvents.StaleConnection:
        this.#setConnected(false);
        break;
      case Events.Error:
        logger.warn({ nats: status.data, permission: status.permissionContext }, 'NATS reports an error');
        break;
      default:
        logger.debug({ nats: status.type }, 'NATS status');
    }
  }

  #setConnected(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    const { logger } = this.#options;
    const servers = this.#options.servers();
    if (connected) logger.info({ servers }, 'connected to NATS');
    else if (!this.#closed.signal.aborted) logger.warn({ servers }, 'connection to NATS lost');
    for (const listener of [...this.#listeners]) listener(connected);
  }

  #attach(subscriber: Subscriber): void {
    if (!this.#connection || this.#connection.isClosed()) return;
    const { queue, subject } = subscriber;
    subscriber.current = this.#connection.subscribe(subject, {
      callback: (error, message) => {
        if (!error) return queue.push({ subject: message.subject, data: message.data });
        this.#subscribers.delete(subscriber);
        queue.fail(toBerthError(error));
      },
    });
  }
}

function connectionOptions(options: NatsOptions): ConnectionOptions {
  const { serverName } = options;
  const servers = [...options.servers()];
  if (servers.length === 0) throw new BerthError('Unavailable', 'no NATS server is known yet');
  const tls = options.tls?.();
  return {
    servers,
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix }),
    // The client hands all of this to node's tls.connect, so the name to verify can be set though its type lacks it.
    ...(tls ? { tls: { ...tls, ...(serverName === undefined ? {} : { servername: serverName }) } } : {}),
    timeout: 2_000,
    reconnect: false,
    pingInterval: 1_000,
    maxPingOut: 2,
    // Other servers are known by configuration; gossip would name addresses that our certificate rules don't know.
    ignoreClusterUpdates: true,
  };
}
