import type { Change, TaskView } from '@berth/contracts/scheduler';
import { TaskState } from '@berth/contracts/workload';
import type { Clock } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import type { Mirrors } from '../mirrors.ts';
import type { Agent, Agents } from './agents.ts';
import type { MergedChannel, Source } from './merged-channel.ts';

/** Pause before a followed stream is asked for again, when its node did not answer. */
const retryMs = 1_000;

/** What one task has to say, over the calls that this takes. */
export interface TaskStream<T> {
  /** Asks the agent, from where the last call ended. */
  open(agent: Agent, signal: AbortSignal): AsyncIterable<T>;
  /** Says why nothing comes from this task now. */
  notice(text: string): T;
}

export interface Meant {
  readonly isMeant: (view: TaskView) => boolean;
  /** It is one task: nothing takes its place when it is gone. */
  readonly single: boolean;
  /** Goes on, also with tasks that come to be meanwhile. */
  readonly follow: boolean;
}

/** Streams of many tasks from their nodes, merged; a node that does not answer does not hold up the others. */
export class TaskStreams {
  readonly #clock: Clock;
  readonly #mirrors: Mirrors;
  readonly #agents: Agents;

  constructor(options: { readonly clock: Clock; readonly mirrors: Mirrors; readonly agents: Agents }) {
    this.#clock = options.clock;
    this.#mirrors = options.mirrors;
    this.#agents = options.agents;
  }

  /** `isLater` of a task that came to be after the reader. */
  async *read<T>(
    { isMeant, single, follow }: Meant,
    streamOf: (view: TaskView, isLater: boolean) => TaskStream<T>,
    channel: MergedChannel<T>,
    outer: AbortSignal,
  ): AsyncGenerator<T> {
    const ended = new AbortController();
    const signal = AbortSignal.any([outer, ended.signal]);
    const started = new Set<string>();
    let running = 0;
    let isLater = false;
    // Called at each step of the mirror too: it must not throw, for whatever has become of the tasks.
    const start = (): void => {
      const views = this.#agents.tasks().filter(isMeant);
      if (single && views.length === 0 && running === 0) channel.end();
      for (const view of views) {
        const id = view.task?.id ?? '';
        if (started.has(id) || !hasContainer(view)) continue;
        started.add(id);
        running += 1;
        this.#pump(view, streamOf(view, isLater), channel.open(), follow, signal).then(
          () => {
            running -= 1;
            if (running === 0 && (single || !follow)) channel.end();
          },
          (error: unknown) => channel.end({ error }),
        );
      }
    };
    start();
    isLater = true;
    if (running === 0 && !follow) return;
    const off = follow ? this.#onTasks(isMeant, start) : undefined;
    try {
      yield* channel.read(signal);
    } finally {
      off?.();
      ended.abort();
    }
  }

  async #pump<T>(
    view: TaskView,
    stream: TaskStream<T>,
    source: Source<T>,
    follow: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    // Said once, not at every try.
    let told = '';
    const attempt = async (): Promise<'wanted' | 'unwanted'> => {
      try {
        for await (const item of stream.open(this.#agents.ofTask(view), signal)) {
          told = '';
          if (!(await source.push(item))) return 'unwanted';
        }
        // An agent that stops in good order ends its streams; the task may go on.
        return 'wanted';
      } catch (error) {
        if (signal.aborted) return 'unwanted';
        if (!isBerthError(error)) throw error;
        // The container of an ended task may be gone already.
        if (error.code === 'NotFound') return 'unwanted';
        const text = `${this.#agents.hostname(view.task?.nodeId ?? '')}: ${error.message}`;
        if (text !== told && !(await source.push(stream.notice(text)))) return 'unwanted';
        told = text;
        return 'wanted';
      }
    };
    try {
      while (!signal.aborted && (await attempt()) === 'wanted') {
        if (!follow || this.#agents.isOver(view.task?.id ?? '')) return;
        await this.#clock.sleep(retryMs, signal);
      }
    } finally {
      source.end();
    }
  }

  /** Calls the listener when one of the tasks meant may have changed or gone; what others do costs a follower next to nothing. */
  #onTasks(isMeant: (view: TaskView) => boolean, listener: () => void): () => void {
    return this.#mirrors.feed.onStep(({ kind, changes }) => {
      const concerns = ({ resource }: Change): boolean =>
        resource === undefined || (resource.$case === 'task' && isMeant(resource.value));
      if (kind === 'reset' || changes.some(concerns)) listener();
    });
  }
}

/** A container exists, or did. */
function hasContainer({ task, status }: TaskView): boolean {
  return task?.nodeId !== '' && (status?.state ?? 0) >= TaskState.TASK_STATE_STARTING && status?.removed !== true;
}
