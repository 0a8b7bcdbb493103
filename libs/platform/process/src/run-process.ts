import type { Logger } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';

/** What a process holds while it runs. */
export interface Running {
  /** Lets go of everything, in order. */
  stop(): Promise<void>;
  /** Ends the process when it settles: with 0 when it resolves (a one-shot process is done), with 1 when it rejects (a loop
   *  died; the platform restarts the process). */
  readonly done?: Promise<void>;
}

export interface ProcessOptions {
  readonly name: string;
  readonly logger: Logger;
  /** Puts everything together. `signal` aborts when the process is asked to stop, also during the start. */
  readonly start: (signal: AbortSignal) => Promise<Running>;
  /** Time for `stop`; after it the process exits all the same, with code 1. Default 10,000. */
  readonly stopLimitMs?: number;
}

/**
 * Runs a process until it is done or told to stop by SIGTERM or SIGINT. An unhandled rejection or exception is logged once
 * and ends it with code 1: nobody knows what it left behind, and the platform starts a fresh one.
 */
export function runProcess(options: ProcessOptions): void {
  const { logger, stopLimitMs = 10_000 } = options;
  const stopping = new AbortController();
  let crashed = false;
  const crash = (what: string) => (error: unknown) => {
    if (crashed) return;
    crashed = true;
    logger.error({ error }, `${options.name} crashed: ${what}`);
    process.exit(1);
  };
  process.on('uncaughtException', crash('uncaught exception'));
  process.on('unhandledRejection', crash('unhandled rejection'));
  const asked = new Promise<'signal'>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        logger.info({ signal: name }, `${options.name} stops`);
        stopping.abort();
        resolve('signal');
      });
    }
  });
  run(options, stopping.signal, asked, stopLimitMs).then((code) => process.exit(code), crash('start or stop failed'));
}

async function run(
  options: ProcessOptions,
  signal: AbortSignal,
  asked: Promise<'signal'>,
  stopLimitMs: number,
): Promise<number> {
  const { logger } = options;
  const starting = options.start(signal);
  // A start that does not look at the signal must not hold up the stop.
  const first = await Promise.race([starting, asked]);
  let death: { readonly error: unknown } | undefined;
  const limit = (): void => {
    const timer = setTimeout(() => {
      logger.error({ stopLimitMs }, `${options.name} did not stop in time`);
      process.exit(1);
    }, stopLimitMs);
    timer.unref();
  };
  if (first === 'signal') limit();
  const running = await started(starting, signal);
  if (running === undefined) return 0;
  if (first !== 'signal') {
    logger.info({}, `${options.name} runs`);
    const ended =
      running.done?.catch((error: unknown) => {
        logger.error({ error }, `${options.name} died`);
        death = { error };
      }) ?? new Promise(() => {});
    await Promise.race([asked, ended]);
    limit();
  }
  try {
    await running.stop();
  } catch (error) {
    // A stop that waits for the loop that died has nothing new to say.
    if (death?.error !== error) throw error;
  }
  return death === undefined ? 0 : 1;
}

/** Undefined when the start was given up because the process was asked to stop. */
async function started(starting: Promise<Running>, signal: AbortSignal): Promise<Running | undefined> {
  try {
    return await starting;
  } catch (error) {
    if (signal.aborted && isBerthError(error, 'Cancelled')) return undefined;
    throw error;
  }
}
