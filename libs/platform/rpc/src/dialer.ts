import type { CallExtra, Clock, Logger, Rng, RpcDialer, RpcService, RpcTarget } from '@berth/kernel';
import { BerthError, formatIdentity } from '@berth/kernel';
import type { Channel } from '@grpc/grpc-js';
import type { CompatServiceDefinition } from 'nice-grpc';
import { createClientFactory } from 'nice-grpc';
import type { CallOptions, ClientMiddlewareCall, Metadata, MethodDescriptor } from 'nice-grpc-common';
import { Connection } from './connection.ts';
import { fromStatus } from './errors.ts';
import type { Answer } from './limits.ts';
import { rpcLimits } from './limits.ts';
import type { TlsMaterial, TlsSource } from './tls.ts';

export interface DialerOptions {
  /** Certificates; without them only Unix sockets can be dialed. */
  readonly tls?: TlsSource;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
}

export interface ClosableDialer extends RpcDialer {
  /** Calls under way end as they may; new ones fail with Cancelled. */
  close(): void;
}

/**
 * Makes clients over mTLS (addresses `host:port`) or a Unix socket (`unix:/path`).
 *
 * What is tried again: before a call is sent, connecting, over all addresses, until the deadline (a stream: one round).
 * After it was sent, only a unary call whose proto says `idempotency_level`, and only when the answer is Unavailable:
 * of any other nobody knows whether it took effect. Failed calls throw BerthError.
 */
export function createDialer(options: DialerOptions): ClosableDialer {
  return dialerWith(options, () => options.tls?.current(), options.tls);
}

/** A dialer that trusts one CA and shows no certificate: what `dialPinned` ends in. */
export function trustingDialer(options: Omit<DialerOptions, 'tls'>, ca: string): ClosableDialer {
  return dialerWith(options, () => ({ ca }), undefined);
}

function dialerWith(
  options: DialerOptions,
  tls: () => TlsMaterial | { readonly ca: string } | undefined,
  source: TlsSource | undefined,
): ClosableDialer {
  const { clock, logger } = options;
  const connections = new Map<string, Connection>();
  const unsubscribe = source?.onChange(() => {
    for (const connection of connections.values()) connection.retire();
  });
  const connectionTo = (target: RpcTarget): Connection => {
    const key = `${formatIdentity(target.identity)} ${target.addresses().join(' ')}`;
    let connection = connections.get(key);
    if (connection === undefined) {
      connection = new Connection({ target, tls, clock, logger });
      connections.set(key, connection);
    }
    return connection;
  };
  return {
    client<Client, Implementation>(service: RpcService<Client, Implementation>, target: RpcTarget): Client {
      const connection = connectionTo(target);
      const around = callMiddleware(options, connection);
      return createClientFactory()
        .use<CallExtra>(around)
        .create(service.definition as CompatServiceDefinition, connection as unknown as Channel) as Client;
    },
    close: () => {
      unsubscribe?.();
      for (const connection of connections.values()) connection.close();
    },
  };
}

/** Around every call: connect, deadline, typed errors, retries. */
function callMiddleware({ clock, rng }: DialerOptions, connection: Connection) {
  return async function* around<Request, Response>(
    call: ClientMiddlewareCall<Request, Response>,
    options: CallOptions & Partial<CallExtra>,
  ): AsyncGenerator<Response, Answer<Response>, undefined> {
    const { timeoutMs = rpcLimits.unaryTimeoutMs, ...inner } = options;
    const unary = !call.requestStream && !call.responseStream;
    const guard = callGuard(clock, options.signal, unary ? timeoutMs : undefined);
    try {
      for (let attempt = 1; ; attempt += 1) {
        const state: AttemptState = { sent: false, trailer: undefined };
        try {
          await untilAborted(connection.ready(), guard.signal);
          state.sent = true;
          return yield* call.next(call.request, {
            ...inner,
            signal: guard.signal,
            onTrailer: keepTrailer(state, options),
          });
        } catch (thrown) {
          guard.check(call.method.path, timeoutMs);
          const error = fromStatus(thrown, state.trailer);
          if (error.code === 'Unavailable' && state.sent) connection.failed();
          if (!unary || !mayRepeat(error, attempt, state, call.method.options)) throw error;
          guard.lastError = error;
        }
        await clock.sleep(backoffMs(attempt, rng.next()), guard.signal);
        guard.check(call.method.path, timeoutMs);
      }
    } finally {
      guard.end();
    }
  };
}

interface AttemptState {
  /** False as long as the server cannot have seen anything of the call. */
  sent: boolean;
  trailer: Metadata | undefined;
}

/** Nothing was sent, or doing it twice is the same as once. */
function mayRepeat(
  error: BerthError,
  attempt: number,
  { sent }: AttemptState,
  options: MethodDescriptor['options'],
): boolean {
  if (error.code !== 'Unavailable' || attempt >= rpcLimits.retryAttemptsMax) return false;
  return !sent || options.idempotencyLevel !== undefined;
}

function keepTrailer(state: AttemptState, options: CallOptions): (received: Metadata) => void {
  return (received) => {
    state.trailer = received;
    options.onTrailer?.(received);
  };
}

/** Full jitter: anything up to the exponential limit. */
export function backoffMs(attempt: number, random: number): number {
  return random * Math.min(rpcLimits.retryMaxMs, rpcLimits.retryBaseMs * 2 ** attempt);
}

interface CallGuard {
  /** Aborts at the deadline or with the caller's signal. */
  readonly signal: AbortSignal;
  /** What the last try said, if there was one. */
  lastError: BerthError | undefined;
  /** Throws, with the reason, if `signal` has aborted. */
  check(path: string, timeoutMs: number): void;
  end(): void;
}

function callGuard(clock: Clock, outer: AbortSignal | undefined, timeoutMs: number | undefined): CallGuard {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  if (outer?.aborted) abort();
  outer?.addEventListener('abort', abort);
  const cancel = timeoutMs === undefined ? undefined : clock.timer(timeoutMs, abort);
  return {
    signal: controller.signal,
    lastError: undefined,
    check(path, limit) {
      if (!controller.signal.aborted) return;
      if (outer?.aborted) throw new BerthError('Cancelled', `${path} was cancelled`, { reason: 'CANCELLED' });
      if (this.lastError !== undefined) throw this.lastError;
      throw new BerthError('DeadlineExceeded', `${path} took longer than ${limit} ms`, { reason: 'DEADLINE' });
    },
    end: () => {
      cancel?.();
      outer?.removeEventListener('abort', abort);
    },
  };
}

/** Waits for a promise, but no longer than until the signal aborts. */
async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw aborted();
  let onAbort: () => void = () => {};
  const stop = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(aborted());
    signal.addEventListener('abort', onAbort);
  });
  try {
    await Promise.race([promise, stop]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function aborted(): BerthError {
  return new BerthError('Cancelled', 'the call was cancelled', { reason: 'CANCELLED' });
}
