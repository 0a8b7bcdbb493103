import { BerthError } from '@berth/kernel';

/** Exit codes that scripts can trust. */
export const exitCode = {
  converged: 0,
  internal: 1,
  badInput: 2,
  notConverged: 3,
  unreachable: 4,
  denied: 5,
  conflict: 6,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

/** Ends the command with a message for the user. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  /** How to mend it. */
  readonly remedy: string | undefined;

  constructor(code: ExitCode, message: string, remedy?: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.name = 'CliError';
    this.exitCode = code;
    this.remedy = remedy;
  }
}

/** The exit code of any failure. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CliError) return error.exitCode;
  if (!(error instanceof BerthError)) return exitCode.internal;
  switch (error.code) {
    case 'InvalidArgument':
    case 'NotFound':
      return exitCode.badInput;
    case 'Unavailable':
    case 'DeadlineExceeded':
      return exitCode.unreachable;
    case 'PermissionDenied':
    case 'Unauthenticated':
      return exitCode.denied;
    case 'Conflict':
    case 'AlreadyExists':
    case 'FailedPrecondition':
      return exitCode.conflict;
    default:
      return exitCode.internal;
  }
}
