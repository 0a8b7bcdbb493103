import type {
  ExecRequest,
  ExecResponse,
  InspectRequest,
  InspectResponse,
  LoadImageRequest,
  LoadImageResponse,
  LogsRequest,
  LogsResponse,
  RuntimeServiceImplementation,
  SaveImageRequest,
  SaveImageResponse,
  StatsRequest,
  StatsResponse,
  Usage,
} from '@berth/contracts/agent';
import type { CallerContext, Clock, ContainerRuntime, ContainerState, ExecSession, Logger } from '@berth/kernel';
import { BerthError, isBerthError, onAbort } from '@berth/kernel';
import { isEnded } from '@berth/workload';
import { asBuffer } from '../domain/bytes.ts';
import type { RunPlan } from '../domain/run-plan.ts';
import { byRun } from '../domain/task-record.ts';
import type { ContainerReader, ImageArchives, UsageReading } from './runtime-ports.ts';
import type { TaskEngine } from './task-engine.ts';
import { Wake } from './wake.ts';

/** A follower looks again at least this often, in case no event told of a new run. */
const lookIntervalMs = 2_000;
/** Between two measurements of a container. */
const statsIntervalMs = 1_000;
/** Archives taken at a time: each costs the engine a disk's whole speed. */
const loadsMax = 2;
/** Larger archives are refused. */
const archiveBytesMax = 64 * 2 ** 30;

export interface RuntimeHandlerOptions {
  readonly engine: TaskEngine;
  readonly runtime: ContainerRuntime<RunPlan>;
  readonly reader: ContainerReader;
  readonly images: ImageArchives;
  readonly clock: Clock;
  readonly log: Logger;
}

interface CallSignal {
  readonly signal: AbortSignal;
}

/**
 * Reaches into running tasks: their output, commands in them, what they use; and into the engine's images. Every call
 * is logged with the identity that the scheduler speaks for: that is the audit. What may be secret (a command's words,
 * its environment) is not in it.
 */
export class RuntimeHandler implements RuntimeServiceImplementation<CallerContext> {
  readonly #o: RuntimeHandlerOptions;
  #loads = 0;

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
        if (!wait || this.#isOver(taskId)) return undefined;
        await wake.wait(lookIntervalMs, signal);
      }
      return undefined;
    } finally {
      unsubscribe();
    }
  }

  /** No other run will come. */
  #isOver(taskId: string): boolean {
    const { tasks } = this.#o.engine;
    const status = tasks.status(taskId);
    return tasks.assignment(taskId) === undefined || (status !== undefined && isEnded(status.state));
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
    const settled = onAbort(signal, stop);
    // Input that can't be passed on ends the session; its output then says how.
    pump(input, session).catch(stop);
    try {
      for await (const piece of session.output) {
        yield piece.kind === 'exit'
          ? { step: { $case: 'exitCode', value: piece.code } }
          : { step: { $case: piece.kind, value: asBuffer(piece.data) } };
      }
    } finally {
      settled();
      session.close();
    }
  }

  async inspect({ taskId, caller }: InspectRequest): Promise<InspectResponse> {
    const { engine, reader, log } = this.#o;
    log.info({ taskId, caller }, 'inspect');
    const latest = byRun(engine.tasks.latest(taskId)).at(-1)?.state;
    if (latest) return { containerJson: JSON.stringify(await reader.details(latest.id)) };
    if (engine.tasks.assignment(taskId) === undefined) throw noTask(taskId);
    throw new BerthError('NotFound', 'the task has no container now', { reason: 'NO_CONTAINER' });
  }

  /** What lies between two readings; with `follow` over restarts, until the task has ended. */
  async *stats({ taskId, follow, caller }: StatsRequest, { signal }: CallSignal): AsyncIterable<StatsResponse> {
    const { reader, clock, log } = this.#o;
    log.info({ taskId, caller }, 'stats');
    let before: Reading | undefined;
    while (!signal.aborted) {
      if (follow && this.#isOver(taskId)) return;
      const container = follow ? (await this.#runAfter(taskId, 0, true, signal))?.state : this.#running(taskId);
      if (container === undefined) return;
      const now = await this.#reading(container, reader, follow);
      if (before && now && before.id === now.id) {
        yield { usage: usageBetween(before, now, Math.floor(clock.wall())) };
        if (!follow) return;
      }
      before = now;
      await clock.sleep(statsIntervalMs, signal);
    }
  }

  async #reading(container: ContainerState, reader: ContainerReader, follow: boolean): Promise<Reading | undefined> {
    if (container.phase.kind !== 'running') return undefined;
    try {
      return { ...(await reader.usage(container.id)), id: container.id, atMs: this.#o.clock.monotonic() };
    } catch (error) {
      // The next run has taken its place meanwhile: a follower goes on there.
      if (!follow || !isBerthError(error, 'NotFound')) throw error;
      return undefined;
    }
  }

  async *loadImage(
    requests: AsyncIterable<LoadImageRequest>,
    { signal }: CallSignal,
  ): AsyncIterable<LoadImageResponse> {
    const { images, log } = this.#o;
    const input = requests[Symbol.asyncIterator]();
    const first = await input.next();
    if (first.done || first.value.step?.$case !== 'start') {
      throw new BerthError('InvalidArgument', 'the first message of a transfer is its start', { reason: 'NO_START' });
    }
    if (this.#loads >= loadsMax) {
      throw new BerthError('Exhausted', `this node is taking ${loadsMax} archives already; try again later`, {
        reason: 'TOO_MANY_LOADS',
      });
    }
    const { caller } = first.value.step.value;
    log.info({ caller }, 'load image');
    this.#loads += 1;
    try {
      const loaded = await images.load(chunksOf(input), signal);
      log.info({ caller, images: loaded.map(({ name, id }) => name || id) }, 'image loaded');
      yield { images: loaded.map((image) => ({ ...image })) };
    } finally {
      this.#loads -= 1;
    }
  }

  async *saveImage({ name, caller }: SaveImageRequest, { signal }: CallSignal): AsyncIterable<SaveImageResponse> {
    const { images, log } = this.#o;
    log.info({ image: name, caller }, 'save image');
    for await (const chunk of images.save(name, signal)) yield { chunk: asBuffer(chunk) };
  }

  #running(taskId: string): ContainerState {
    const latest = byRun(this.#o.engine.tasks.latest(taskId)).at(-1)?.state;
    if (latest?.phase.kind === 'running') return latest;
    if (latest === undefined && this.#o.engine.tasks.assignment(taskId) === undefined) throw noTask(taskId);
    throw new BerthError('FailedPrecondition', 'the task does not run now', { reason: 'NOT_RUNNING' });
  }
}

type Reading = UsageReading & {
  /** Container. */
  readonly id: string;
  /** Monotonic. */
  readonly atMs: number;
};

function usageBetween(before: Reading, now: Reading, wallMs: number): Usage {
  const passedMs = Math.max(1, now.atMs - before.atMs);
  const { id: _id, atMs: _atMs, cpuNs, ...rest } = now;
  // Nanoseconds a millisecond are millionths of a core.
  return { ...rest, cpuMillis: Math.max(0, (cpuNs - before.cpuNs) / passedMs / 1_000), atMs: wallMs };
}

/** The archive out of a transfer; one that was cut off is an error, so that the engine does not take it for whole. */
async function* chunksOf(input: AsyncIterator<LoadImageRequest>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for (;;) {
    const { done, value } = await input.next();
    if (done) throw new BerthError('Cancelled', 'the transfer was cut off', { reason: 'CUT_OFF' });
    if (value.step?.$case === 'end') return;
    if (value.step?.$case !== 'chunk') {
      throw new BerthError('InvalidArgument', 'a transfer starts once', { reason: 'STARTED_TWICE' });
    }
    bytes += value.step.value.length;
    if (bytes > archiveBytesMax) {
      throw new BerthError('InvalidArgument', `an archive has at most ${archiveBytesMax} bytes`, {
        reason: 'ARCHIVE_TOO_LARGE',
      });
    }
    yield value.step.value;
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
