export type LogFields = Readonly<Record<string, unknown>>;

/** Structured logging. Never log secrets, environments, tokens or keys. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  child(fields: LogFields): Logger;
}
