import type { EventLog, EventLogOptions, LoggedEvent } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import type { JetStreamManager, NatsConnection, StreamConfig } from 'nats';
import { DiscardPolicy, nanos, RetentionPolicy, StorageType } from 'nats';
import { isNameInUse, isNoMessage, translated } from './errors.ts';

const defaults = { maxAgeMs: 24 * 3_600_000, maxBytes: 2 ** 30, duplicateWindowMs: 120_000 };

const messageIdHeader = 'Nats-Msg-Id';

export interface NatsLogOptions {
  /** JetStream's stream. */
  readonly name: string;
  readonly callTimeoutMs: number;
  /** The connection; throws Unavailable without one. */
  connection(): NatsConnection;
}

/** Where the server fetches a stream of another account. */
export interface CopySource {
  /** Stream there. */
  readonly stream: string;
  /** JetStream's API of that account, as this one imports it. */
  readonly api: string;
  /** Subjects under which that account hands over. */
  readonly deliver: string;
}

/** A JetStream stream as the kernel's EventLog. */
export class NatsLog implements EventLog {
  readonly #options: NatsLogOptions;

  constructor(options: NatsLogOptions) {
    this.#options = options;
  }

  async ensure(options: EventLogOptions): Promise<void> {
    const { maxAgeMs, maxBytes, duplicateWindowMs, subjects } = { ...defaults, ...options };
    const config: Partial<StreamConfig> & { name: string } = {
      name: this.#options.name,
      subjects: [...subjects],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      num_replicas: 1,
      max_age: nanos(maxAgeMs),
      max_bytes: maxBytes,
      duplicate_window: nanos(duplicateWindowMs),
    };
    await this.#manage(async ({ streams }) => {
      try {
        await streams.add(config);
      } catch (error) {
        if (!isNameInUse(error)) throw error;
        await streams.update(config.name, config);
      }
    });
  }

  /** Makes the stream a copy of one in another account, which the server keeps up by itself. */
  async ensureCopy({ stream, api, deliver }: CopySource): Promise<void> {
    const { name } = this.#options;
    await this.#manage(async ({ streams }) => {
      try {
        await streams.add({
          name,
          mirror: { name: stream, external: { api, deliver } },
          storage: StorageType.File,
          discard: DiscardPolicy.Old,
          num_replicas: 1,
          max_age: nanos(defaults.maxAgeMs),
          max_bytes: defaults.maxBytes,
        });
      } catch (error) {
        // What it copies never changes.
        if (!isNameInUse(error)) throw error;
      }
    });
  }

  last(): Promise<LoggedEvent | undefined> {
    return this.#manage(async ({ streams }) => {
      const { state } = await streams.info(this.#options.name);
      if (state.messages === 0) return undefined;
      try {
        const message = await streams.getMessage(this.#options.name, { seq: state.last_seq });
        return {
          subject: message.subject,
          data: message.data,
          sequence: message.seq,
          messageId: message.header.get(messageIdHeader),
        };
      } catch (error) {
        // Expired in between.
        if (isNoMessage(error)) return undefined;
        throw error;
      }
    });
  }

  lastSequence(): Promise<number> {
    return this.#manage(async ({ streams }) => (await streams.info(this.#options.name)).state.last_seq);
  }

  async append(event: {
    readonly subject: string;
    readonly messageId: string;
    readonly data: Uint8Array;
    readonly expectedLastSequence: number;
  }): Promise<{ readonly sequence: number }> {
    const { expectedLastSequence } = event;
    const client = this.#options.connection().jetstream({ timeout: this.#options.callTimeoutMs });
    const ack = await translated(
      client.publish(event.subject, event.data, {
        msgID: event.messageId,
        timeout: this.#options.callTimeoutMs,
        // Not the stream's name: it would travel with the event, and a copy of another name would refuse it.
        expect: { lastSequence: expectedLastSequence },
      }),
    );
    // A known message id is acknowledged whatever sequence was expected; somebody else appended it.
    if (ack.duplicate) {
      throw new BerthError('Conflict', `${event.messageId} is recorded already, at ${ack.seq}`, { reason: 'DEPOSED' });
    }
    return { sequence: ack.seq };
  }

  async #manage<T>(work: (manager: JetStreamManager) => Promise<T>): Promise<T> {
    const connection = this.#options.connection();
    const options = { checkAPI: false, timeout: this.#options.callTimeoutMs };
    return translated(connection.jetstreamManager(options).then(work));
  }
}
