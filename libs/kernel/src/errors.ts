/** Codes of operating errors; `platform/rpc` maps each to one gRPC status, and back. */
export type ErrorCode =
  | 'InvalidArgument'
  | 'NotFound'
  | 'AlreadyExists'
  | 'FailedPrecondition'
  | 'Conflict'
  | 'Exhausted'
  | 'Unavailable'
  | 'DeadlineExceeded'
  | 'Cancelled'
  | 'PermissionDenied'
  | 'Unauthenticated'
  | 'Internal';

export interface BerthErrorOptions {
  /** Stable, upper case, for programs: `NETWORK_NOT_READY`. */
  readonly reason?: string;
  /** Facts a program may use, never secrets. */
  readonly details?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An operating error: expected, typed, handled. Anything else that is thrown is a programmer's error and crashes. */
export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly details: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, options: BerthErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BerthError';
    this.code = code;
    this.reason = options.reason ?? '';
    this.details = options.details ?? {};
  }
}

export function isBerthError(error: unknown, code?: ErrorCode, reason?: string): error is BerthError {
  return (
    error instanceof BerthError &&
    (code === undefined || error.code === code) &&
    (reason === undefined || error.reason === reason)
  );
}

/** Will it pass by itself? Nobody answers, or the store has no room: a loop waits, and does what it wanted again. */
export function isPassing(error: unknown): error is BerthError {
  return isBerthError(error, 'Unavailable') || isBerthError(error, 'Exhausted');
}
