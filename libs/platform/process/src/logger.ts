import type { LogFields, Logger } from '@berth/kernel';
import type { DestinationStream, Logger as PinoLogger } from 'pino';
import { pino, stdSerializers } from 'pino';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Fields that are never written, at the top and one level down, however they got there. A plain `key` is a store's key,
 *  which says what happened; private keys have names of their own. */
const secretFields = [
  'secret',
  'token',
  'tokenSecret',
  'token_secret',
  'joinToken',
  'password',
  'tls.key',
  'keyPem',
  'privateKey',
  'environment',
  'authorization',
];

export interface LoggerOptions {
  /** `scheduler`, `agent`, … */
  readonly component: string;
  /** Default `info`. */
  readonly level?: LogLevel;
  /** Ids in every line: cluster, node, replica. */
  readonly fields?: LogFields;
  /** Default: standard output. */
  readonly destination?: DestinationStream;
}

/** JSON lines: `{"level":"info","time":"2026-…Z","component":"scheduler", …,"msg":"…"}`. */
export function createLogger(options: LoggerOptions): Logger {
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: { component: options.component, ...options.fields },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => (error instanceof Error ? stdSerializers.err(error) : error) },
      redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
  return wrap(logger);
}

function wrap(logger: PinoLogger): Logger {
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    child: (fields) => wrap(logger.child(fields)),
  };
}

/** Says nothing; for tests and tools. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};
