import type {
  BoundService,
  CallExtra,
  Clock,
  Identity,
  Logger,
  Rng,
  RpcDialer,
  RpcService,
  RpcTarget,
} from '@berth/kernel';
import { BerthError, formatIdentity, isBerthError } from '@berth/kernel';
import type { RpcMethod } from './rpc-method.ts';
import { cancelled, methodsOf, overTheWire, serveCall } from './rpc-method.ts';
import type { Link } from './rpc-wire.ts';
import { RpcWire } from './rpc-wire.ts';

/** The times that the real transport keeps too. */
const unaryTimeoutMs = 10_000;
const connectTimeoutMs = 1_000;
const silenceMs = 2_500;
const retryBaseMs = 100;
const retryMaxMs = 2_000;
const retryAttemptsMax = 10;

export interface MemoryServerOptions {
  /** Who serves; a client that looks for somebody else does not trust it. */
  readonly identity: Identity;
  /** Any text; by custom `host:port`. */
  readonly address: string;
  readonly services: readonly BoundService[];
  /** How callers are known: by their dialer (default), or by the kind of port. */
  readonly access?: 'mtls' | 'join' | 'unix';
}

interface MemoryServer extends MemoryServerOptions {
  readonly calls: Set<MemoryCall>;
}

interface MemoryCall {
  readonly from: string;
  readonly address: string;
  lose(error: BerthError): void;
}

export interface MemoryRpcOptions {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Where programmers' errors in handlers go. */
  readonly logger: Logger;
}

/**
 * The network of a simulated cluster: servers at addresses, dialers at places, both in this process. Access, errors,
 * streams, deadlines, retries and fail-over are those of the real transport; faults are made with `cut` and `delayMs`.
 */
export class MemoryRpc {
  readonly #options: MemoryRpcOptions;
  readonly #servers = new Map<string, MemoryServer>();
  readonly #cuts = new Set<string>();
  #healed: (() => void)[] = [];

  /** How long a message takes from one place to another. Default 0. */
  delayMs: (from: string, address: string) => number = () => 0;

  constructor(options: MemoryRpcOptions) {
    this.#options = options;
  }

  /** Starts serving. The returned function ends it at once, as a killed process would: calls fail with Unavailable. */
  serve(options: MemoryServerOptions): () => void {
    if (this.#servers.has(options.address)) {
      throw new BerthError('Unavailable', `${options.address} is in use`, { reason: 'ADDRESS_IN_USE' });
    }
    const server: MemoryServer = { ...options, calls: new Set() };
    this.#servers.set(options.address, server);
    return () => {
      if (this.#servers.get(options.address) === server) this.#servers.delete(options.address);
      for (const call of server.calls) call.lose(connectionLost(options.address));
    };
  }

  /** A dialer of somebody, at a place that `cut` and `delayMs` can name. By default its identity in text. */
  dialer(identity: Identity, from: string = formatIdentity(identity)): RpcDialer {
    return {
      client: <Client, Implementation>(service: RpcService<Client, Implementation>, target: RpcTarget): Client => {
        const client: Record<string, unknown> = {};
        for (const [key, method] of Object.entries(methodsOf(service.definition))) {
          const call = new Caller(this, this.#options, { service: service.name, key, method, target, identity, from });
          const streams = method.requestStream || method.responseStream;
          client[key] = streams ? call.stream : call.unary;
        }
        return client as Client;
      },
    };
  }

  /** Packets between a place and an address vanish without a word. Both sides notice after 2.5 s; what was under way
   *  arrives late if it is healed before. The returned function heals it. */
  cut(from: string, address: string): () => void {
    const pair = `${from} ${address}`;
    this.#cuts.add(pair);
    this.#options.clock.timer(silenceMs, () => {
      if (!this.#cuts.has(pair)) return;
      for (const call of this.#servers.get(address)?.calls ?? []) {
        if (call.from === from) call.lose(connectionLost(address));
      }
    });
    return () => {
      this.#cuts.delete(pair);
      const waiting = this.#healed;
      this.#healed = [];
      for (const resolve of waiting) resolve();
    };
  }

  /** Finds a server for a target, over its addresses in turn, from `start` on. For dialers. */
  async connect(target: RpcTarget, from: string, start: number): Promise<MemoryServer> {
    const addresses = target.addresses();
    const errors: BerthError[] = [];
    for (let index = 0; index < addresses.length; index += 1) {
      const address = addresses[(start + index) % addresses.length] ?? '';
      const server = this.#servers.get(address);
      if (this.#cuts.has(`${from} ${address}`)) await this.#options.clock.sleep(connectTimeoutMs);
      if (server === undefined || this.#cuts.has(`${from} ${address}`)) errors.push(unreachable(target, address));
      else if (server.access !== 'unix' && formatIdentity(server.identity) !== formatIdentity(target.identity)) {
        errors.push(distrusted(target, address));
      } else return server;
    }
    throw errors.find((error) => error.code === 'Unauthenticated') ?? errors[0] ?? unreachable(target, 'no address');
  }

  /** What lies between a place and an address. For dialers. */
  link(from: string, address: string): Link {
    const { clock } = this.#options;
    return {
      clock,
      delayMs: () => this.delayMs(from, address),
      open: async () => {
        while (this.#cuts.has(`${from} ${address}`)) {
          await new Promise<void>((resolve) => this.#healed.push(resolve));
        }
      },
    };
  }
}

interface CallerOptions {
  readonly service: string;
  readonly key: string;
  readonly method: RpcMethod;
  readonly target: RpcTarget;
  readonly identity: Identity;
  readonly from: string;
}

/** The client's half of one method. */
class Caller {
  readonly #rpc: MemoryRpc;
  readonly #world: MemoryRpcOptions;
  readonly #options: CallerOptions;
  readonly #path: string;
  /** Index of the address to try first: moves on after each Unavailable. */
  #start = 0;

  constructor(rpc: MemoryRpc, world: MemoryRpcOptions, options: CallerOptions) {
    this.#rpc = rpc;
    this.#world = world;
    this.#options = options;
    this.#path = `/${options.service}/${options.method.name}`;
  }

  readonly unary = async (request: unknown, extra: CallExtra = {}): Promise<unknown> => {
    const { clock, rng } = this.#world;
    const timeoutMs = extra.timeoutMs ?? unaryTimeoutMs;
    const over = new AbortController();
    const cancelTimer = clock.timer(timeoutMs, () => over.abort());
    const onAbort = (): void => over.abort();
    extra.signal?.addEventListener('abort', onAbort);
    if (extra.signal?.aborted) over.abort();
    let last: BerthError | undefined;
    const ended = (): BerthError =>
      extra.signal?.aborted
        ? cancelled()
        : (last ??
          new BerthError('DeadlineExceeded', `${this.#path} took longer than ${timeoutMs} ms`, { reason: 'DEADLINE' }));
    try {
      for (let attempt = 1; ; attempt += 1) {
        const state = { sent: false };
        try {
          return await this.#once(request, over.signal, state);
        } catch (error) {
          if (over.signal.aborted) throw ended();
          if (isBerthError(error, 'Unavailable') && state.sent) this.#start += 1;
          const again = !state.sent || this.#options.method.options.idempotencyLevel !== undefined;
          if (!again || !isBerthError(error, 'Unavailable') || attempt >= retryAttemptsMax) throw error;
          last = error;
          await clock.sleep(rng.next() * Math.min(retryMaxMs, retryBaseMs * 2 ** attempt), over.signal);
          if (over.signal.aborted) throw ended();
        }
      }
    } finally {
      cancelTimer();
      extra.signal?.removeEventListener('abort', onAbort);
    }
  };

  readonly stream = (request: unknown, extra: CallExtra = {}): AsyncIterable<unknown> => {
    const requests = this.#options.method.requestStream ? (request as AsyncIterable<unknown>) : [request];
    return this.#responses(requests, extra.signal, { sent: false });
  };

  async #once(request: unknown, signal: AbortSignal, state: { sent: boolean }): Promise<unknown> {
    for await (const response of this.#responses([request], signal, state)) return response;
    throw new BerthError('Internal', `${this.#path} ended without an answer`, { reason: 'INTERNAL' });
  }

  async *#responses(
    requests: AsyncIterable<unknown> | readonly unknown[],
    signal: AbortSignal | undefined,
    state: { sent: boolean },
  ): AsyncGenerator<unknown, void, undefined> {
    const { key, method, target, identity, from } = this.#options;
    if (signal?.aborted) throw cancelled();
    const server = await aborting(this.#rpc.connect(target, from, this.#start), signal);
    state.sent = true;
    const link = this.#rpc.link(from, server.address);
    const up = new RpcWire<unknown>(link);
    const down = new RpcWire<unknown>(link);
    const over = new AbortController();
    const lose = (error: BerthError): void => {
      over.abort();
      up.lose(error);
      down.lose(error);
    };
    const call: MemoryCall = { from, address: server.address, lose };
    const onAbort = (): void => lose(cancelled());
    signal?.addEventListener('abort', onAbort);
    server.calls.add(call);
    sendAll(requests, method, up).catch((error: unknown) => {
      over.abort();
      down.lose(error);
    });
    const handler = this.#handlerOf(server, key);
    if (handler === undefined) {
      down.end(
        new BerthError('FailedPrecondition', `the server does not know ${this.#path}`, { reason: 'UNIMPLEMENTED' }),
      );
    } else {
      const caller: Identity =
        server.access === 'join' ? { role: 'anyone' } : server.access === 'unix' ? { role: 'local-root' } : identity;
      const { logger } = this.#world;
      const onBug = (path: string, error: unknown): void => logger.error({ method: path, error }, 'RPC failed');
      const half = { path: this.#path, method, handler, caller, peer: from, signal: over.signal, onBug };
      // Never rejects: what the handler throws is the answer.
      void serveCall({ ...half, requests: up.receive(), responses: down });
    }
    try {
      yield* down.receive();
    } finally {
      server.calls.delete(call);
      signal?.removeEventListener('abort', onAbort);
      lose(cancelled());
    }
  }

  #handlerOf(server: MemoryServer, key: string): ((...args: readonly unknown[]) => unknown) | undefined {
    const bound = server.services.find((service) => service.name === this.#options.service);
    const handler = bound?.handler as Record<string, (...args: readonly unknown[]) => unknown> | undefined;
    return handler?.[key]?.bind(handler);
  }
}

async function sendAll(
  requests: AsyncIterable<unknown> | readonly unknown[],
  method: RpcMethod,
  wire: RpcWire<unknown>,
): Promise<void> {
  for await (const request of requests) {
    if (!(await wire.send(overTheWire(method.requestType, request)))) return;
  }
  wire.end();
}

async function aborting<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let onAbort: () => void = () => {};
  const stop = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(cancelled());
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([promise, stop]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function unreachable(target: RpcTarget, address: string): BerthError {
  const who = formatIdentity(target.identity);
  return new BerthError('Unavailable', `${who} at ${address} cannot be reached`, { reason: 'UNREACHABLE' });
}

function distrusted(target: RpcTarget, address: string): BerthError {
  const who = formatIdentity(target.identity);
  return new BerthError('Unauthenticated', `${address} is not ${who}`, { reason: 'TLS_REFUSED' });
}

function connectionLost(address: string): BerthError {
  return new BerthError('Unavailable', `the connection to ${address} is lost`, { reason: 'CONNECTION_LOST' });
}
