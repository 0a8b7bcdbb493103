import type {
  ExecRequest,
  ExecResponse,
  LogsRequest,
  LogsResponse,
  RuntimeServiceImplementation,
} from '@berth/contracts/agent';
import type { CallerContext, Clock, ContainerRuntime, ContainerState, ExecSession, Logger } from '@berth/kernel';
import { BerthError, isBerthError } from '@berth/kernel';
import { isEnded } from '@berth/workload';
import { asBuffer } from '../domain/bytes.ts';
import type { RunPlan } from '../domain/run-plan.ts';
import { byRun } from '../domain/task-record.ts';
import type { TaskEngine } from './task-engine.ts';
import { Wake } from './wake.ts';

/** A follower looks again at least this often, in case no event told of a new run. */
const lookIntervalMs = 2_000;

export interface RuntimeHandlerOptions {
  readonly engine: TaskEngine;
  readonly runtime: ContainerRuntime<RunPlan>;
  readonly clock: Clock;
  readonly log: Logger;
}

interface CallSignal {
  readonly signal: AbortSignal;
}

/** Reaches into running tasks: their output and commands in them. */
export class RuntimeHandler implements RuntimeServiceImplementation<CallerContext> {
  readonly #o: RuntimeHandlerOptions;

  constructor(options: RuntimeHandlerOptions) {
    this.#o = options;
  }

  /** Output of the task's latest run; with `follow` of the runs after it too, until the task has ended or left. */
  async *logs(request: LogsRequest, { signal }: CallSignal): AsyncIterable<LogsResponse> {
    const { engine, runtime, log } = this.#o;
    log.info({ taskId: request.taskId, caller: request.caller }, 'logs');
    let run = 0;
    let tail = request.tail;
    for (;;) {
      const next = await this.#runAfter(request.taskId, run, request.follow, signal);
      if (next === undefined) break;
      run = next.run;
      const options = { follow: request.follow, tail, sinceMs: request.sinceMs, signal };
      try {
        for await (const { stderr, line, atMs } of runtime.logs(next.state.id, options)) {
          yield { stderr, line: asBuffer(line), atMs };
        }
      } catch (error) {
        // The next run has taken its place meanwhile: a follower goes on there.
        if (!request.follow || !isBerthError(error, 'NotFound')) throw error;
      }
      if (!request.follow || signal.aborted) return;
      tail = undefined;
    }
    if (run === 0 && engine.tasks.assignment(request.taskId) === undefined) throw noTask(request.taskId);
  }

  /** The latest run after `run`; waits for one if told so; undefined if none will come. */
  async #runAfter(
    taskId: string,
    run: number,
    wait: boolean,
    signal: AbortSignal,
  ): Promise<{ run: number; state: ContainerState } | undefined> {
    const { engine, clock } = this.#o;
    const wake = new Wake(clock);
    const unsubscribe = engine.onContainers(() => wake.notify());
    try {
      while (!signal.aborted) {
        const latest = byRun(engine.tasks.latest(taskId)).at(-1);
        if (latest && latest.run > run) return latest;
        const status = engine.tasks.status(taskId);
        const over = engine.tasks.assignment(taskId) === undefined || (status !== undefined && isEnded(status.state));
        if (!wait || over) return undefined;
        await wake.wait(lookIntervalMs, signal);
      }
      return undefined;
    } finally {
      unsubscribe();
    }
  }

  async *exec(requests: AsyncIterable<ExecRequest>, { signal }: CallSignal): AsyncIterable<ExecResponse> {
    const { runtime, log } = this.#o;
    const input = requests[Symbol.asyncIterator]();
    const first = await input.next();
    if (first.done || first.value.step?.$case !== 'start') {
      throw new BerthError('InvalidArgument', 'the first message of an exec is its start', { reason: 'NO_START' });
    }
    const start = first.value.step.value;
    log.info({ taskId: start.taskId, caller: start.caller }, 'exec');
    const container = this.#running(start.taskId);
    const session = await runtime.exec(container.id, start);
    const stop = () => session.close();
    signal.addEventListener('abort', stop, { once: true });
    // Input that can't be passed on ends the session; its output then says how.
    pump(input, session).catch(stop);
    try {
      for await (const piece of session.output) {
        yield piece.kind === 'exit'
          ? { step: { $case: 'exitCode', value: piece.code } }
          : { step: { $case: piece.kind, value: asBuffer(piece.data) } };
      }
    } finally {
      signal.removeEventListener('abort', stop);
      session.close();
    }
  }

  #running(taskId: string): ContainerState {
    const latest = byRun(this.#o.engine.tasks.latest(taskId)).at(-1)?.state;
    if (latest?.phase.kind === 'running') return latest;
    if (latest === undefined && this.#o.engine.tasks.assignment(taskId) === undefined) throw noTask(taskId);
    throw new BerthError('FailedPrecondition', 'the task does not run now', { reason: 'NOT_RUNNING' });
  }
}

async function pump(input: AsyncIterator<ExecRequest>, session: ExecSession): Promise<void> {
  for (;;) {
    const { done, value } = await input.next();
    if (done) return session.endInput();
    switch (value.step?.$case) {
      case 'stdin':
        await session.write(value.step.value);
        break;
      case 'stdinEnd':
        session.endInput();
        break;
      case 'size':
        await session.resize(value.step.value.columns, value.step.value.rows);
        break;
      default:
        throw new BerthError('InvalidArgument', 'an exec starts once', { reason: 'STARTED_TWICE' });
    }
  }
}

function noTask(taskId: string): BerthError {
  return new BerthError('NotFound', `no task ${taskId} on this node`, { reason: 'TASK_NOT_HERE' });
}
