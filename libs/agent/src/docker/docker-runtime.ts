import type { Readable } from 'node:stream';
import type {
  ContainerRuntime,
  ContainerState,
  ExecOptions,
  ExecSession,
  HostFacts,
  LogLine,
  LogOptions,
  RuntimeHint,
} from '@berth/kernel';
import { BerthError, onAbort } from '@berth/kernel';
import { label } from '../domain/labels.ts';
import type { RunPlan } from '../domain/run-plan.ts';
import { createOptions, laterJoins } from './container-spec.ts';
import { containerState } from './container-state.ts';
import type { DockerCalls, EngineEvent } from './docker-calls.ts';
import { call } from './docker-calls.ts';
import { isConnectionLoss } from './docker-errors.ts';
import { openExec } from './docker-exec.ts';
import { LogFrames } from './log-frames.ts';

/** Waits between attempts to follow the engine's events. */
const reconnectMs = 500;
/** Containers inspected at a time: the engine serialises more anyway. */
const inspectConcurrency = 8;

/** After these a container is another one than before. It is created by nobody but us, who then start it. */
const actions = ['start', 'die', 'destroy', 'pause', 'unpause', 'oom', 'health_status'];

/** The ContainerRuntime port on a Docker engine: sequences of calls, nothing decided here. */
export class DockerRuntime implements ContainerRuntime<RunPlan> {
  readonly #calls: DockerCalls;
  readonly #clusterId: string;

  constructor(calls: DockerCalls, clusterId: string) {
    this.#calls = calls;
    this.#clusterId = clusterId;
  }

  async prepare(plan: RunPlan, signal: AbortSignal): Promise<void> {
    const { image } = plan.container;
    if (!(await this.#calls.imageExists(image))) await this.#calls.pullImage(image, signal);
    for (const volume of plan.volumes.values()) await this.#calls.ensureVolume(volume.name, volume.spec);
  }

  async start(plan: RunPlan, signal: AbortSignal): Promise<string> {
    const { id, found } = await this.#calls.createContainer(createOptions(plan));
    if (found && containerState(found).phase.kind !== 'created') return id;
    for (const join of laterJoins(plan)) {
      if (!found?.NetworkSettings.Networks?.[join.dockerNetwork]) await this.#calls.connect(join, id);
    }
    if (signal.aborted) throw new BerthError('Cancelled', `start of ${plan.name} given up`);
    try {
      await this.#calls.start(id);
    } catch (error) {
      // The engine writes the reason (no such program, port taken) to the container: that is a run that failed.
      if ((await this.inspect(id))?.phase.kind !== 'exited') throw error;
    }
    return id;
  }

  stop(id: string): Promise<void> {
    return this.#calls.stop(id);
  }

  remove(id: string): Promise<void> {
    return this.#calls.remove(id);
  }

  kill(id: string, signal: string): Promise<void> {
    return this.#calls.kill(id, signal);
  }

  removeVolume(name: string): Promise<'removed' | 'absent' | 'in-use'> {
    return this.#calls.removeVolume(name);
  }

  async list(): Promise<readonly ContainerState[]> {
    const ids = await this.#calls.containerIds(this.#labelFilter);
    const states: ContainerState[] = [];
    for (let at = 0; at < ids.length; at += inspectConcurrency) {
      const some = await Promise.all(ids.slice(at, at + inspectConcurrency).map((id) => this.inspect(id)));
      states.push(...some.filter((state) => state !== undefined));
    }
    return states;
  }

  async inspect(id: string): Promise<ContainerState | undefined> {
    const info = await this.#calls.inspect(id);
    return info && containerState(info);
  }

  async *watch(signal: AbortSignal): AsyncIterable<RuntimeHint> {
    while (!signal.aborted) {
      try {
        const stream = await this.#calls.events(this.#labelFilter, actions);
        const stop = () => stream.destroy();
        const settled = onAbort(signal, stop);
        try {
          // The stream is open: from here on nothing is missed, so now is the time to list.
          yield { kind: 'gap' };
          for await (const line of lines(stream)) {
            const hint = hintOf(line);
            if (hint) yield hint;
          }
        } finally {
          settled();
          stream.destroy();
        }
      } catch (error) {
        if (signal.aborted) return;
        // An engine that is away, or answers with an error, is no news to handle here: its calls say so until it is back.
        if (!(error instanceof BerthError) && !isConnectionLoss(error)) throw error;
      }
      await pause(reconnectMs, signal);
    }
  }

  async *logs(id: string, options: LogOptions): AsyncIterable<LogLine> {
    const query = {
      follow: options.follow,
      stdout: true,
      stderr: true,
      timestamps: true,
      since: options.sinceMs / 1000,
      ...(options.tail === undefined ? {} : { tail: options.tail }),
    };
    const frames = new LogFrames();
    const stream = await this.#calls.logs(id, query);
    const stop = () => stream.destroy();
    const settled = onAbort(options.signal, stop);
    try {
      for await (const chunk of stream) yield* frames.push(chunk as Uint8Array);
      yield* frames.end();
    } catch (error) {
      if (!options.signal.aborted) throw error;
    } finally {
      settled();
      stream.destroy();
    }
  }

  exec(id: string, options: ExecOptions): Promise<ExecSession> {
    return openExec(this.#calls.docker, id, options);
  }

  facts(): Promise<HostFacts> {
    return engineFacts(this.#calls);
  }

  get #labelFilter(): string {
    return `${label.cluster}=${this.#clusterId}`;
  }
}

/** Lines of a stream; one that is cut off ends, as if the engine had gone. */
async function* lines(stream: Readable): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    rest += decoder.decode(chunk as Uint8Array, { stream: true });
    const parts = rest.split('\n');
    rest = parts.pop() ?? '';
    yield* parts;
  }
}

function hintOf(line: string): RuntimeHint | undefined {
  if (line.trim() === '') return undefined;
  const event = JSON.parse(line) as EngineEvent;
  if (event.Type !== 'container') return undefined;
  return { kind: 'container', id: event.Actor.ID, labels: event.Actor.Attributes ?? {} };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}

/** What the engine says of itself and its host. */
export async function engineFacts(calls: DockerCalls): Promise<HostFacts> {
  const info = await call('ask the engine about its host', () => calls.docker.info());
  return {
    hostname: String(info.Name),
    cpuMillis: Number(info.NCPU) * 1000,
    memoryBytes: Number(info.MemTotal),
    os: String(info.OSType),
    architecture: String(info.Architecture),
    engineVersion: String(info.ServerVersion),
    engineLabels: Object.fromEntries(
      ((info.Labels ?? []) as string[]).map((text) => {
        const at = text.indexOf('=');
        return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
      }),
    ),
  };
}
