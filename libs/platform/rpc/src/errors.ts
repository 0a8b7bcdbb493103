import type { ErrorCode } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import type { Metadata } from 'nice-grpc-common';
import { ClientError, ServerError, Status } from 'nice-grpc-common';
import { decodeStatus, encodeStatus, statusDetailsKey } from './error-info.ts';
import { rpcLimits } from './limits.ts';

/** The one error table: what each code is on the wire. */
export const statusOf: Readonly<Record<ErrorCode, Status>> = {
  InvalidArgument: Status.INVALID_ARGUMENT,
  NotFound: Status.NOT_FOUND,
  AlreadyExists: Status.ALREADY_EXISTS,
  FailedPrecondition: Status.FAILED_PRECONDITION,
  Conflict: Status.ABORTED,
  Exhausted: Status.RESOURCE_EXHAUSTED,
  Unavailable: Status.UNAVAILABLE,
  DeadlineExceeded: Status.DEADLINE_EXCEEDED,
  Cancelled: Status.CANCELLED,
  PermissionDenied: Status.PERMISSION_DENIED,
  Unauthenticated: Status.UNAUTHENTICATED,
  Internal: Status.INTERNAL,
};

const codeOfStatus = new Map<Status, ErrorCode>(
  (Object.entries(statusOf) as [ErrorCode, Status][]).map(([code, status]) => [status, code]),
);

/** An abort of the caller's own signal, as the platform and nice-grpc throw it. */
function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/**
 * What a handler threw, as an operating error. A programmer's error becomes Internal with its cause kept for the log;
 * the client is not told what it was.
 */
export function toBerthError(error: unknown): BerthError {
  if (error instanceof BerthError) return error;
  if (isAbort(error)) return new BerthError('Cancelled', 'the call was cancelled', { reason: 'CANCELLED' });
  return new BerthError('Internal', 'internal error', { reason: 'INTERNAL', cause: error });
}

/** Server side: the gRPC status of an error, and the trailer that carries its reason and details. */
export function toStatus(path: string, error: BerthError, trailer: Metadata): ServerError {
  const status = statusOf[error.code];
  const message = cut(error.message, rpcLimits.errorMessageBytesMax);
  const full = encodeStatus(status, message, error);
  const info = full.length <= rpcLimits.errorDetailsBytesMax + rpcLimits.errorMessageBytesMax;
  trailer.set(statusDetailsKey, info ? full : encodeStatus(status, message, { reason: error.reason, details: {} }));
  return new ServerError(status, message === '' ? path : message);
}

/** Client side: the typed error of a failed call. */
export function fromStatus(error: unknown, trailer: Metadata | undefined): BerthError {
  if (error instanceof BerthError) return error;
  if (isAbort(error)) return new BerthError('Cancelled', 'the call was cancelled', { reason: 'CANCELLED' });
  if (!(error instanceof ClientError)) {
    return new BerthError('Internal', `the call failed: ${String(error)}`, { reason: 'INTERNAL', cause: error });
  }
  const encoded = trailer?.get(statusDetailsKey);
  const info = encoded instanceof Uint8Array ? decodeStatus(encoded) : undefined;
  if (error.code === Status.UNIMPLEMENTED) {
    return new BerthError('FailedPrecondition', `the server does not know ${error.path}`, { reason: 'UNIMPLEMENTED' });
  }
  // Only an abort of ours is a cancellation; one that comes from the other side without a word of a handler's is the end
  // of the connection, and a loop that took it for its own would stop for ever.
  const cut = error.code === Status.CANCELLED && info === undefined;
  const code = cut ? 'Unavailable' : (codeOfStatus.get(error.code) ?? 'Internal');
  const reason = info?.reason ?? (code === 'Unavailable' ? 'CONNECTION_LOST' : '');
  return new BerthError(code, error.details, { reason, details: info?.details ?? {} });
}

function cut(text: string, bytesMax: number): string {
  const bytes = new TextEncoder().encode(text);
  return bytes.length <= bytesMax ? text : `${new TextDecoder().decode(bytes.subarray(0, bytesMax - 4))}…`;
}
