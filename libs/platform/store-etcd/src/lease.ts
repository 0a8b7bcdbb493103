import type { Clock, Logger, StoreLease } from '@berth/kernel';
import { BerthError, isBerthError } from '@berth/kernel';
import type { Etcd3, IDuplexStream, ILeaseKeepAliveRequest, ILeaseKeepAliveResponse } from 'etcd3';
import { translated } from './errors.ts';

interface LeaseContext {
  /** The present one: a renewed certificate comes with a new client. */
  readonly client: () => Etcd3;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A stream, and when each keep-alive was sent that it has not answered yet. */
interface KeepAlives {
  readonly stream: IDuplexStream<ILeaseKeepAliveRequest, ILeaseKeepAliveResponse>;
  readonly sent: number[];
}

/** etcd counts a lease's time in whole seconds. */
export async function grantLease(context: LeaseContext, ttlMs: number): Promise<EtcdLease> {
  const sentAt = context.clock.monotonic();
  const answer = await translated(context.client().leaseClient.leaseGrant({ TTL: Math.ceil(ttlMs / 1_000) }), {
    write: true,
  });
  return new EtcdLease(context, answer.ID, sentAt, Number(answer.TTL) * 1_000);
}

/**
 * A lease kept alive every third of its time to live. `lost` aborts in time: the holder counts from when it sent the last
 * keep-alive that was answered, the server from when it got it, so the holder's time is always up first.
 */
export class EtcdLease implements StoreLease {
  readonly id: string;
  readonly #context: LeaseContext;
  readonly #lost = new AbortController();
  readonly #ttlMs: number;
  #alive: KeepAlives | undefined;
  #opening = false;
  #cancelExpiry: () => void = () => undefined;
  #cancelKeepAlive: () => void = () => undefined;

  constructor(context: LeaseContext, id: string, sentAt: number, ttlMs: number) {
    this.#context = context;
    this.id = id;
    this.#ttlMs = ttlMs;
    this.#renew(sentAt, ttlMs);
    this.#scheduleKeepAlive();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async revoke(): Promise<void> {
    this.#end('revoked');
    try {
      await translated(this.#context.client().leaseClient.leaseRevoke({ ID: this.id }), { write: true });
    } catch (error) {
      // Over already, which is what was asked for.
      if (!isBerthError(error, 'FailedPrecondition', 'LEASE_LOST')) throw error;
    }
  }

  #renew(sentAt: number, ttlMs: number): void {
    this.#cancelExpiry();
    const left = sentAt + ttlMs - this.#context.clock.monotonic();
    this.#cancelExpiry = this.#context.clock.timer(left, () => this.#end('not kept alive'));
  }

  #scheduleKeepAlive(): void {
    this.#cancelKeepAlive = this.#context.clock.timer(this.#ttlMs / 3, () => {
      this.#scheduleKeepAlive();
      void this.#keepAlive();
    });
  }

  async #keepAlive(): Promise<void> {
    if (this.#opening) return;
    try {
      this.#alive ??= await this.#open();
      if (this.#lost.signal.aborted) return this.#close();
      this.#alive.sent.push(this.#context.clock.monotonic());
      this.#alive.stream.write({ ID: this.id });
    } catch (error) {
      this.#context.logger.debug({ err: error, lease: this.id }, 'no stream for keep-alives');
      this.#close();
    }
  }

  async #open(): Promise<KeepAlives> {
    this.#opening = true;
    try {
      const stream = await this.#context.client().leaseClient.leaseKeepAlive();
      const alive: KeepAlives = { stream, sent: [] };
      stream.on('data', (answer) => {
        const sentAt = alive.sent.shift();
        if (sentAt === undefined || this.#lost.signal.aborted) return;
        const ttlMs = Number(answer.TTL) * 1_000;
        if (ttlMs <= 0) this.#end('unknown to the store');
        else this.#renew(sentAt, ttlMs);
      });
      const broken = (): void => {
        if (this.#alive === alive) this.#alive = undefined;
      };
      stream.on('error', broken);
      stream.on('end', broken);
      return alive;
    } finally {
      this.#opening = false;
    }
  }

  #close(): void {
    const stream = this.#alive?.stream;
    this.#alive = undefined;
    // Ended first: etcd3 takes the cancelling of an open stream for a failure of the host and drops its connections.
    stream?.end();
    stream?.cancel();
  }

  #end(why: string): void {
    if (this.#lost.signal.aborted) return;
    this.#cancelExpiry();
    this.#cancelKeepAlive();
    this.#close();
    this.#lost.abort(
      new BerthError('FailedPrecondition', `lease ${this.id} is over: ${why}`, { reason: 'LEASE_LOST' }),
    );
  }
}
