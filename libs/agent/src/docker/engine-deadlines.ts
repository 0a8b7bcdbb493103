import type Docker from 'dockerode';

/** How long the engine gets for one call, in milliseconds. Its operations go on by themselves when nobody waits any more:
 *  what is tried again finds the container that the first try made. */
export interface EngineDeadlines {
  /** Lists, inspections, the first answer of a stream. */
  readonly look: number;
  /** Create, start, remove and the like. */
  readonly change: number;
  /** Until a pull begins: a registry may be slow. */
  readonly pullStart: number;
  /** A pull under way that says nothing for so long has hung. */
  readonly pullSilence: number;
  /** For a stop, beyond the container's own grace period. */
  readonly stopSlack: number;
}

export const engineDeadlinesMs: EngineDeadlines = {
  look: 30_000,
  change: 60_000,
  pullStart: 120_000,
  pullSilence: 300_000,
  stopSlack: 30_000,
};

type Dial = Docker['modem']['dial'];
type Request = Parameters<Dial>[0];

/** Ends every call that is not answered in time: an engine that hangs must not hold whoever waits for it for good. Calls that
 *  come with an AbortSignal of their own are left to it. */
export function withDeadlines(docker: Docker, deadlines: EngineDeadlines): Docker {
  const { modem } = docker;
  const dial: Dial = modem.dial.bind(modem);
  modem.dial = (request, callback) => {
    const ms = request.abortSignal === undefined ? deadlineOf(request, deadlines) : undefined;
    if (ms === undefined) return dial(request, callback);
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), ms);
    dial({ ...request, abortSignal: over.signal }, (error, answer) => {
      // A stream is answered when it begins; how long it lasts is its reader's business.
      clearTimeout(timer);
      const silent = over.signal.aborted && Boolean(error);
      callback?.(silent ? new Error(`the engine does not answer within ${ms / 1000} s`) : error, answer);
    });
  };
  return docker;
}

/** Undefined: as long as it takes. */
function deadlineOf({ method, path }: Request, deadlines: EngineDeadlines): number | undefined {
  if (path.startsWith('/images/create')) return deadlines.pullStart;
  // Whole images travel before the answer does.
  if (/^\/(images\/(load|get)|images\/.*\/get|build)/u.test(path)) return undefined;
  return method === 'GET' ? deadlines.look : deadlines.change;
}
