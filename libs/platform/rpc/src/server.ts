import { chmodSync, renameSync, rmSync } from 'node:fs';
import type { BoundService, CallerContext, Identity, Logger } from '@berth/kernel';
import { BerthError, formatIdentity } from '@berth/kernel';
import { logVerbosity, ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import type { CompatServiceDefinition, ServiceImplementation } from 'nice-grpc';
import { createServer } from 'nice-grpc';
import type { CallContext, ServerMiddlewareCall } from 'nice-grpc-common';
import { checkAccess } from './access.ts';
import type { Admission, AdmittedCall } from './admission.ts';
import { AdmissionGate } from './admission.ts';
import { callerInterceptor, callerKeyOf, callerOf } from './caller.ts';
import { toBerthError, toStatus } from './errors.ts';
import { healthDefinition, healthService } from './health.ts';
import type { Answer } from './limits.ts';
import { channelOptions, rpcLimits } from './limits.ts';
import type { TlsSource } from './tls.ts';

/**
 * How callers are known.
 * - `mtls`: by the verified certificate of the cluster's CA; nobody else gets past the handshake.
 * - `join`: nobody is known (`anyone`), TLS of the server's side only; the CA goes out with the chain, to be pinned.
 * - `unix`: a socket that only root can open (`local-root`).
 */
export type ServerAccess =
  | { readonly kind: 'mtls'; readonly tls: TlsSource }
  | { readonly kind: 'join'; readonly tls: TlsSource }
  | { readonly kind: 'unix' };

/** Told of every call that ended; `@berth/process` has one for Prometheus. */
export interface RpcObserver {
  ended(call: { readonly method: string; readonly code: string; readonly ms: number }): void;
}

export interface ServerOptions {
  /** `host:port` (port 0 picks one), or the path of the socket for `unix`. */
  readonly address: string;
  readonly access: ServerAccess;
  readonly services: readonly BoundService[];
  readonly logger: Logger;
  readonly observer?: RpcObserver;
  /** Who may still speak, of those that have a certificate. Default: all. */
  readonly admission?: Admission;
  /** What gRPC's health service says. Default: serving as long as the server is not stopping. */
  readonly ready?: () => boolean;
}

export interface RpcServer {
  /** The port that was bound; 0 for a socket. */
  readonly port: number;
  /** Takes no new calls, ends streams at once (clients get Unavailable and go elsewhere), lets unary calls end for
   *  `graceMs`, then cuts them. */
  stop(graceMs: number): Promise<void>;
}

/** Starts serving. Rejects with Unavailable, reason ADDRESS_IN_USE, when the address cannot be bound. */
export async function startServer(options: ServerOptions): Promise<RpcServer> {
  const { access, logger } = options;
  const stopping = new AbortController();
  const gate = options.admission && new AdmissionGate(options.admission);
  // It would write lines of its own between ours, about what it also throws.
  setLogVerbosity(logVerbosity.NONE);
  const server = createServer({
    ...channelOptions,
    ...callerLimits(access),
    interceptors: [callerInterceptor(fixedCaller(access))],
  } as object).use(middleware(options, stopping.signal, gate));
  for (const service of options.services) {
    server.add(
      service.definition as CompatServiceDefinition,
      service.handler as ServiceImplementation<CompatServiceDefinition, CallerContext>,
    );
  }
  if (access.kind !== 'join') {
    const ready = (): boolean => !stopping.signal.aborted && (options.ready?.() ?? true);
    const names = options.services.map((service) => service.name);
    server.add(healthDefinition as CompatServiceDefinition, healthService(names, ready) as never);
  }
  const credentials = access.kind === 'unix' ? undefined : new ReloadingCredentials(access);
  const port = await listen(options, (address) =>
    server.listen(address, credentials ?? ServerCredentials.createInsecure()),
  );
  logger.info({ address: options.address, port, access: access.kind }, 'gRPC server listens');
  return {
    port,
    stop: async (graceMs) => {
      stopping.abort();
      const closed = server.shutdown();
      let timer: NodeJS.Timeout | undefined;
      const cut = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          logger.warn({ address: options.address, graceMs }, 'gRPC calls did not end in time; cut');
          server.forceShutdown();
          // The connection of a silent client may never say that it is closed.
          timer = setTimeout(resolve, rpcLimits.cutTimeoutMs);
        }, graceMs);
      });
      await Promise.race([closed, cut]);
      clearTimeout(timer);
      gate?.close();
      credentials?.close();
      if (access.kind === 'unix') rmSync(options.address, { force: true });
    },
  };
}

/** What one connection may ask of this process: of a stranger it takes little. */
function callerLimits(access: ServerAccess): Record<string, number> {
  if (access.kind !== 'join') return { 'grpc.max_concurrent_streams': rpcLimits.streamsPerConnectionMax };
  return {
    'grpc.max_concurrent_streams': rpcLimits.joinStreamsPerConnectionMax,
    'grpc.max_receive_message_length': rpcLimits.joinMessageBytesMax,
  };
}

function fixedCaller(access: ServerAccess): Identity | undefined {
  if (access.kind === 'mtls') return undefined;
  return { role: access.kind === 'join' ? 'anyone' : 'local-root' };
}

async function listen(options: ServerOptions, bindTo: (address: string) => Promise<number>): Promise<number> {
  try {
    if (options.access.kind !== 'unix') return await bindTo(options.address);
    // Under its own name only once nobody but root can open it: there is no moment in which others could.
    const temporary = `${options.address}.new`;
    rmSync(temporary, { force: true });
    await bindTo(`unix:${temporary}`);
    chmodSync(temporary, 0o600);
    renameSync(temporary, options.address);
    return 0;
  } catch (cause) {
    // A handler without one of its methods, and the like.
    if (cause instanceof TypeError) throw cause;
    throw addressInUse(options.address, cause);
  }
}

/** Server certificates that follow their source: a renewed one serves the next handshake, without a restart. */
class ReloadingCredentials extends ServerCredentials {
  readonly close: () => void;

  constructor(access: { readonly kind: 'mtls' | 'join'; readonly tls: TlsSource }) {
    const context = (): { cert: string; key: string; ca?: string } => {
      const { cert, key, ca } = access.tls.current();
      return access.kind === 'mtls' ? { cert, key, ca } : { cert: `${cert.trimEnd()}\n${ca}`, key };
    };
    const mutual = access.kind === 'mtls';
    super({ requestCert: mutual, rejectUnauthorized: mutual, minVersion: 'TLSv1.3' }, context());
    this.close = access.tls.onChange(() => this.updateSecureContextOptions(context()));
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** Around every handler: who calls, may they, and what becomes of an error. */
function middleware({ logger, observer }: ServerOptions, stopping: AbortSignal, gate: AdmissionGate | undefined) {
  return async function* around<Request, Response>(
    call: ServerMiddlewareCall<Request, Response, CallerContext>,
    context: CallContext,
  ): AsyncGenerator<Response, Answer<Response>, undefined> {
    const { path } = call.method;
    const started = performance.now();
    const caller = callerOf(context.metadata);
    let code = 'OK';
    let admitted: AdmittedCall | undefined;
    // Why the server has ended a call that its client still wants.
    const cut = (): BerthError | undefined => {
      if (context.signal.aborted) return undefined;
      if (admitted?.signal.aborted) return admitted.signal.reason as BerthError;
      return call.responseStream && stopping.aborted ? serverStopping() : undefined;
    };
    try {
      if (caller === undefined) {
        throw new BerthError('Unauthenticated', 'the certificate names no identity', { reason: 'NO_IDENTITY' });
      }
      checkAccess(path, call.method as Parameters<typeof checkAccess>[1], caller);
      admitted = gate?.enter(caller, callerKeyOf(context.metadata));
      const ends = [context.signal, ...(call.responseStream ? [stopping] : []), ...(admitted ? [admitted.signal] : [])];
      const signal = ends.length === 1 ? context.signal : AbortSignal.any(ends);
      const inner = { ...context, signal, caller, sendHeader: () => context.sendHeader() };
      const result = yield* call.next(call.request, inner);
      const why = cut();
      if (why !== undefined) throw why;
      return result;
    } catch (thrown) {
      const error = cut() ?? toBerthError(thrown);
      code = error.code;
      if (code === 'Internal') {
        logger.error(
          { method: path, caller: caller && formatIdentity(caller), error: error.cause ?? error },
          'RPC failed',
        );
      } else if (code === 'PermissionDenied' || code === 'Unauthenticated') {
        logger.warn({ method: path, caller: caller && formatIdentity(caller), peer: context.peer }, error.message);
      }
      throw toStatus(path, error, context.trailer);
    } finally {
      admitted?.leave();
      observer?.ended({ method: path, code, ms: performance.now() - started });
    }
  };
}

function addressInUse(address: string, cause: unknown): BerthError {
  const details = { address };
  return new BerthError('Unavailable', `cannot listen on ${address}: ${String(cause)}`, {
    reason: 'ADDRESS_IN_USE',
    details,
    cause,
  });
}

function serverStopping(): BerthError {
  return new BerthError('Unavailable', 'the server is stopping', { reason: 'SERVER_STOPPING' });
}
