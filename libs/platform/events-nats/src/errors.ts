import { BerthError } from '@berth/kernel';
import { ErrorCode, NatsError } from 'nats';

/** JetStream's own error codes. */
const apiCodes = { streamNotFound: 10_059, wrongLastSequence: 10_071, noMessage: 10_037, nameInUse: 10_058 } as const;

const closed: readonly string[] = [ErrorCode.ConnectionClosed, ErrorCode.ConnectionDraining, ErrorCode.Cancelled];
const denied: readonly string[] = [ErrorCode.PermissionsViolation, ErrorCode.AuthorizationViolation];

/** The one place where errors of NATS and its client become Berth's. */
export function toBerthError(error: unknown): unknown {
  if (!(error instanceof NatsError)) return error;
  const { message, code } = error;
  switch (error.api_error?.err_code) {
    case undefined:
      break;
    case apiCodes.wrongLastSequence:
      return new BerthError('Conflict', message, { reason: 'DEPOSED', cause: error });
    case apiCodes.streamNotFound:
      return new BerthError('NotFound', message, { reason: 'NO_LOG', cause: error });
    default:
      // 5xx: the server can't at present. 4xx: it never will, the request is wrong.
      return (error.api_error?.code ?? 0) >= 500
        ? new BerthError('Unavailable', message, { cause: error })
        : new BerthError('InvalidArgument', message, { cause: error });
  }
  if (denied.includes(code) || error.isPermissionError()) {
    return new BerthError('PermissionDenied', message, { cause: error });
  }
  if (closed.includes(code)) return new BerthError('Unavailable', 'the connection to NATS is closed', { cause: error });
  // Timeouts, no responders (JetStream is still starting), disconnects: no answer.
  return new BerthError('Unavailable', `nats: ${message}`, { cause: error });
}

export function isNoMessage(error: unknown): boolean {
  return error instanceof NatsError && error.api_error?.err_code === apiCodes.noMessage;
}

export function isNameInUse(error: unknown): boolean {
  return error instanceof NatsError && error.api_error?.err_code === apiCodes.nameInUse;
}

export async function translated<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw toBerthError(error);
  }
}
