import type { ExecRequest as AgentExecRequest, RuntimeServiceClient } from '@berth/contracts/agent';
import type { Node } from '@berth/contracts/registry';
import type {
  Change,
  ExecRequest,
  ExecResponse,
  LogsRequest,
  LogsResponse,
  TaskView,
} from '@berth/contracts/scheduler';
import { TaskState } from '@berth/contracts/workload';
import type { CallExtra, CallerContext } from '@berth/kernel';
import { BerthError, formatIdentity, isBerthError } from '@berth/kernel';
import { defaultNamespace, effectiveState, isEnded, taskName } from '@berth/workload';
import { findTask } from '../../domain/view/find-task.ts';
import type { Mirrors } from '../mirrors.ts';
import type { SchedulerOptions } from '../options.ts';
import { Channel } from './channel.ts';

type Call = CallerContext & { readonly signal: AbortSignal };

/** Pause before a followed log is asked for again, when its node did not answer. */
const retryMs = 1_000;

/** Reaches into running tasks through their nodes' agents, and tells them for whom. */
export class RuntimeProxy {
  readonly #options: SchedulerOptions;
  readonly #mirrors: Mirrors;

  constructor(options: SchedulerOptions, mirrors: Mirrors) {
    this.#options = options;
    this.#mirrors = mirrors;
  }

  /** Output of the tasks meant, as it comes; with `follow` also of tasks that come to be meanwhile. */
  async *logs(request: LogsRequest, call: Call): AsyncGenerator<LogsResponse> {
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    const ended = new AbortController();
    const signal = AbortSignal.any([call.signal, ended.signal]);
    const channel = new Channel<LogsResponse>();
    const started = new Set<string>();
    const single = request.taskId !== '';
    const isMeant = this.#selector(request);
    let running = 0;
    // Called at each step of the mirror too: it must not throw, for whatever has become of the tasks.
    const start = (): void => {
      const views = this.#views().filter(isMeant);
      // Nothing takes the place of a single task that is gone.
      if (single && views.length === 0 && running === 0) channel.end();
      for (const view of views) {
        const id = view.task?.id ?? '';
        if (started.has(id) || !hasOutput(view)) continue;
        started.add(id);
        running += 1;
        this.#pump(view, request, call, signal, channel).then(
          () => {
            running -= 1;
            if (running === 0 && (single || !request.follow)) channel.end();
          },
          (error: unknown) => channel.end({ error }),
        );
      }
    };
    start();
    if (running === 0 && !request.follow) return;
    const off = request.follow ? this.#onTasks(isMeant, start) : undefined;
    try {
      yield* channel.read(signal);
    } finally {
      off?.();
      ended.abort();
    }
  }

  /** Runs a command in a task's container. */
  async *exec(requests: AsyncIterable<ExecRequest>, call: Call): AsyncGenerator<ExecResponse> {
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    const source = requests[Symbol.asyncIterator]();
    const first = await source.next();
    const start = first.done ? undefined : first.value.step;
    if (start?.$case !== 'start') {
      throw new BerthError('InvalidArgument', 'the first message must say what to run', { reason: 'NO_START' });
    }
    const view = findTask(this.#views(), start.value.task, (nodeId) => this.#hostname(nodeId));
    const { task: _task, ...command } = start.value;
    const { agent } = this.#agentOf(view);
    const taskId = view.task?.id ?? '';
    const { log } = this.#options;
    const caller = formatIdentity(call.caller);
    log.info({ taskId, caller }, 'exec');
    async function* steps(): AsyncGenerator<AgentExecRequest> {
      yield { step: { $case: 'start', value: { ...command, taskId, caller } } };
      for (let next = await source.next(); !next.done; next = await source.next()) {
        const { step } = next.value;
        if (step && step.$case !== 'start') yield { step };
      }
    }
    yield* agent.exec(steps(), { signal: call.signal });
  }

  async #pump(
    view: TaskView,
    request: LogsRequest,
    call: Call,
    signal: AbortSignal,
    channel: Channel<LogsResponse>,
  ): Promise<void> {
    const { clock } = this.#options;
    const taskId = view.task?.id ?? '';
    const name = view.task ? taskName(view.task, this.#hostname(view.task.nodeId)) : '';
    let { sinceMs, tail } = request;
    while (!signal.aborted) {
      try {
        const { agent } = this.#agentOf(view);
        const caller = formatIdentity(call.caller);
        const lines = agent.logs({ taskId, follow: request.follow, tail, sinceMs, caller }, { signal });
        for await (const line of lines) {
          sinceMs = line.atMs + 1;
          tail = undefined;
          if (!(await channel.push({ ...line, taskId, taskName: name }))) return;
        }
        // An agent that stops in good order ends its streams; the task may go on.
        if (!request.follow || this.#isOver(taskId)) return;
        await clock.sleep(retryMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        // The container of an ended task may be gone already.
        if (error.code === 'NotFound') return;
        const text = `berth: no output of ${name} from ${this.#hostname(view.task?.nodeId ?? '')}: ${error.message}`;
        const line = { taskId, taskName: name, stderr: true, line: Buffer.from(text), atMs: Math.floor(clock.wall()) };
        if (!(await channel.push(line)) || !request.follow) return;
        await clock.sleep(retryMs, signal);
      }
    }
  }

  /** Says of a task whether it is meant. NotFound if there is none now. */
  #selector(request: LogsRequest): (view: TaskView) => boolean {
    if (request.taskId !== '') {
      const id = findTask(this.#views(), request.taskId, (nodeId) => this.#hostname(nodeId)).task?.id;
      return ({ task }) => task?.id === id;
    }
    const namespace = request.namespace || defaultNamespace;
    const isMeant = ({ task }: TaskView): boolean =>
      task?.namespace === namespace &&
      task.stack === request.stack &&
      (request.service === '' || task.service === request.service);
    if (!this.#views().some(isMeant)) throw nothingMeant(request);
    return isMeant;
  }

  /** Calls the listener when one of the tasks meant may have changed or gone; what others do costs a follower next to nothing. */
  #onTasks(isMeant: (view: TaskView) => boolean, listener: () => void): () => void {
    return this.#mirrors.feed.onStep(({ kind, changes }) => {
      const concerns = ({ resource }: Change): boolean =>
        resource === undefined || (resource.$case === 'task' && isMeant(resource.value));
      if (kind === 'reset' || changes.some(concerns)) listener();
    });
  }

  #isOver(taskId: string): boolean {
    const view = this.#views().find(({ task }) => task?.id === taskId);
    return view?.task === undefined || isEnded(effectiveState(view.task, view.status));
  }

  #views(): TaskView[] {
    return [...this.#mirrors.feed.resources.values()].flatMap(({ resource }) =>
      resource?.$case === 'task' ? [resource.value] : [],
    );
  }

  #agentOf({ task }: TaskView): { readonly node: Node; readonly agent: RuntimeServiceClient<CallExtra> } {
    if (!task || task.nodeId === '') {
      throw new BerthError('FailedPrecondition', 'the task has no node yet', { reason: 'TASK_PENDING' });
    }
    const node = this.#mirrors.nodes.get(task.nodeId);
    if (!node) throw new BerthError('Unavailable', `node ${task.nodeId} is not known now`, { reason: 'NO_SUCH_NODE' });
    return { node, agent: this.#options.agentOf(node) };
  }

  #hostname(nodeId: string): string {
    return this.#mirrors.nodes.get(nodeId)?.hostname ?? nodeId;
  }
}

/** A container exists, or did. */
function hasOutput({ task, status }: TaskView): boolean {
  return task?.nodeId !== '' && (status?.state ?? 0) >= TaskState.TASK_STATE_STARTING && status?.removed !== true;
}

function nothingMeant(request: LogsRequest): BerthError {
  const what =
    request.service === '' ? `stack ${request.stack}` : `service ${request.service} of stack ${request.stack}`;
  return new BerthError('NotFound', `there is no task of ${what}`, { reason: 'NO_SUCH_TASK' });
}
