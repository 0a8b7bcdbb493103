import { BerthError } from '@berth/kernel';
import {
  ClientClosedError,
  castGrpcError,
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCCancelledError,
  GRPCDeadlineExceededError,
  GRPCInternalError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
  GRPCUnavailableError,
  GRPCUnknownError,
} from 'etcd3';

/** What etcd says, where its gRPC code alone says too little. */
const byMessage: readonly (readonly [RegExp, (message: string, cause: unknown) => BerthError])[] = [
  [/has been compacted/, (message, cause) => new BerthError('Conflict', message, { reason: 'COMPACTED', cause })],
  [/is a future revision/, (message, cause) => unavailable(message, 'FUTURE_REVISION', cause)],
  [
    /database space exceeded/,
    (message, cause) => new BerthError('Exhausted', message, { reason: 'STORE_FULL', cause }),
  ],
  [/too many operations|request is too large/, (message, cause) => invalid(message, 'TXN_TOO_LARGE', cause)],
  [/duplicate key given/, (message, cause) => invalid(message, 'DUPLICATE_KEY', cause)],
  [/permission denied/, denied],
  [
    /requested lease not found/,
    (message, cause) => new BerthError('FailedPrecondition', message, { reason: 'LEASE_LOST', cause }),
  ],
  [/larger than max/, (message, cause) => new BerthError('Exhausted', message, { reason: 'MESSAGE_TOO_LARGE', cause })],
];

/** Errors by which a call ended without an answer. */
const noAnswer = [
  GRPCUnavailableError,
  GRPCDeadlineExceededError,
  GRPCCancelledError,
  GRPCInternalError,
  GRPCUnknownError,
];

/** The request never left this process, so it has no effect. */
const neverSent = /No connection established|before call started|Name resolution failed|ECONNREFUSED/;

/**
 * The one place where errors of etcd and its client become Berth's. A write that ended without an answer has the reason
 * OUTCOME_UNKNOWN: it may have happened, or may happen still.
 */
export function toBerthError(error: unknown, options: { readonly write?: boolean } = {}): unknown {
  if (error instanceof BerthError || !(error instanceof Error)) return error;
  // Errors of calls are cast by etcd3 already, those of streams are not.
  if (error.constructor === Error && 'code' in error) return toBerthError(castGrpcError(error), options);
  const { message } = error;
  if (error instanceof ClientClosedError) return new BerthError('Cancelled', message, { cause: error });
  if (error instanceof EtcdLeaseInvalidError) {
    return new BerthError('FailedPrecondition', message, { reason: 'LEASE_LOST', cause: error });
  }
  for (const [pattern, make] of byMessage) {
    if (pattern.test(message)) return make(message, error);
  }
  if (error instanceof EtcdPermissionDeniedError) return denied(message, error);
  if (
    error instanceof GRPCUnauthenticatedError ||
    error instanceof EtcdAuthenticationFailedError ||
    error instanceof EtcdInvalidAuthTokenError
  ) {
    return new BerthError('Unauthenticated', message, { cause: error });
  }
  if (error instanceof GRPCResourceExhastedError) return new BerthError('Exhausted', message, { cause: error });
  if (neverSent.test(message)) return unavailable(message, 'UNREACHABLE', error);
  // "etcdserver: request timed out", "no leader", "leader changed": the server gave up waiting for its peers.
  if (noAnswer.some((type) => error instanceof type) || /etcdserver:/.test(message)) {
    return unavailable(message, options.write ? 'OUTCOME_UNKNOWN' : 'UNREACHABLE', error);
  }
  return error;
}

/** Runs a call and throws what it throws as Berth's. */
export async function translated<T>(work: Promise<T>, options: { readonly write?: boolean } = {}): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw toBerthError(error, options);
  }
}

function unavailable(message: string, reason: string, cause: unknown): BerthError {
  return new BerthError('Unavailable', `etcd: ${message}`, { reason, cause });
}

function invalid(message: string, reason: string, cause: unknown): BerthError {
  return new BerthError('InvalidArgument', message, { reason, cause });
}

function denied(message: string, cause: unknown): BerthError {
  return new BerthError('PermissionDenied', message, { cause });
}
