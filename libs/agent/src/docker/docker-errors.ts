import { BerthError } from '@berth/kernel';

interface EngineError {
  readonly statusCode?: number;
  readonly code?: string;
  readonly json?: { readonly message?: string };
  readonly message?: string;
}

/** HTTP status of an engine's answer; undefined if there was no answer. */
export function statusOf(error: unknown): number | undefined {
  return (error as EngineError | undefined)?.statusCode;
}

/** The engine's own sentence. */
export function engineMessage(error: unknown): string {
  const { json, message } = (error ?? {}) as EngineError;
  // Where the client library does not read the answer as JSON, it puts its own words before it.
  return (json?.message ?? message ?? String(error)).replace(/^\(HTTP code \d+\) [^-]* - /u, '').trim();
}

/**
 * The engine's error as ours. No answer, an engine that is starting or stopping, or one without its containerd: Unavailable. 404: NotFound.
 * 409: Conflict. Anything else the engine refused: FailedPrecondition with its sentence.
 */
export function translate(error: unknown, doing: string): BerthError {
  if (error instanceof BerthError) return error;
  const status = statusOf(error);
  const message = `${doing}: ${engineMessage(error)}`;
  if (status === undefined || status === 503 || isEngineTrouble(message)) {
    return new BerthError('Unavailable', message, { reason: 'ENGINE_UNAVAILABLE', cause: error });
  }
  if (status === 404) return new BerthError('NotFound', message, { reason: 'ENGINE_NOT_FOUND', cause: error });
  if (status === 409) return new BerthError('Conflict', message, { reason: 'ENGINE_CONFLICT', cause: error });
  return new BerthError('FailedPrecondition', message, { reason: 'ENGINE_REFUSED', cause: error });
}

/** Words of an engine whose containerd is away or hangs: that is no word about the container. */
export function isEngineTrouble(message: string): boolean {
  return /containerd\.sock|context deadline exceeded|transport is closing|ttrpc: closed/u.test(message);
}

/** FailedPrecondition: this run can't start here, or this container can't do it now. */
export function refused(reason: string, message: string, cause: unknown): BerthError {
  return new BerthError('FailedPrecondition', message, { reason, cause });
}

/** Conflict: something else still uses it. */
export function inUse(reason: string, message: string, cause: unknown): BerthError {
  return new BerthError('Conflict', message, { reason, cause });
}

/** The engine is gone, or its connection was cut. */
export function isConnectionLoss(error: unknown): boolean {
  if (error instanceof BerthError) return error.code === 'Unavailable';
  const code = (error as EngineError | undefined)?.code;
  return code !== undefined && /^(ECONN|ENOENT|EPIPE|ERR_STREAM_PREMATURE_CLOSE)/u.test(code);
}
