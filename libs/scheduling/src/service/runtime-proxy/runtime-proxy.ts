import type { ExecRequest as AgentExecRequest } from '@berth/contracts/agent';
import type {
  ExecRequest,
  ExecResponse,
  InspectTaskRequest,
  InspectTaskResponse,
  LoadImageRequest,
  LoadImageResponse,
  LogsRequest,
  LogsResponse,
  SaveImageRequest,
  SaveImageResponse,
  StatsRequest,
  StatsResponse,
  TaskView,
} from '@berth/contracts/scheduler';
import type { CallerContext } from '@berth/kernel';
import { BerthError, formatIdentity, isBerthError } from '@berth/kernel';
import { defaultNamespace, LogPosition } from '@berth/workload';
import type { Mirrors } from '../mirrors.ts';
import type { SchedulerOptions } from '../options.ts';
import { Agents } from './agents.ts';
import { ImageTransfer } from './image-transfer.ts';
import { MergedChannel } from './merged-channel.ts';
import type { Meant, TaskStream } from './task-streams.ts';
import { TaskStreams } from './task-streams.ts';

type Call = CallerContext & { readonly signal: AbortSignal };

/** A followed line waits so long for an earlier one from another node. */
const followHoldMs = 250;
/** The same where all ends: the order is worth the time that a node takes to answer. */
const holdMs = 5_000;

/** Which tasks a request speaks of. */
interface Selection {
  readonly namespace: string;
  readonly stack: string;
  readonly service: string;
  /** One task; overrides the others. Empty: none named. */
  readonly task: string;
}

/** Reaches into running tasks, and into nodes' images, through the nodes' agents, and tells them for whom. */
export class RuntimeProxy {
  readonly #options: SchedulerOptions;
  readonly #mirrors: Mirrors;
  readonly #agents: Agents;
  readonly #streams: TaskStreams;
  readonly #images: ImageTransfer;

  constructor(options: SchedulerOptions, mirrors: Mirrors) {
    const { clock } = options;
    this.#options = options;
    this.#mirrors = mirrors;
    this.#agents = new Agents(options, mirrors);
    this.#streams = new TaskStreams({ clock, mirrors, agents: this.#agents });
    this.#images = new ImageTransfer({ clock, agents: this.#agents });
  }

  /** Output of the tasks meant, by time as far as it has come; with `follow` also of tasks that come to be meanwhile. */
  async *logs(request: LogsRequest, call: Call): AsyncGenerator<LogsResponse> {
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    const { clock } = this.#options;
    const { follow } = request;
    const caller = formatIdentity(call.caller);
    const streamOf = (view: TaskView, isLater: boolean): TaskStream<LogsResponse> => {
      const taskId = view.task?.id ?? '';
      const named = { taskId, taskName: this.#agents.nameOf(view) };
      const position = new LogPosition();
      async function* open(...[agent, signal]: Parameters<TaskStream<LogsResponse>['open']>) {
        position.resume();
        const isFirst = position.atMs < 0;
        const sinceMs = isFirst ? request.sinceMs : position.atMs;
        // Of a task that has just begun, the beginning is what is wanted.
        const tail = isFirst && !isLater ? request.tail : undefined;
        for await (const line of agent.logs({ taskId, follow, tail, sinceMs, caller }, { signal })) {
          if (position.isNew(line.atMs)) yield { ...line, ...named, notice: '' };
        }
      }
      const silent = { stderr: true, line: Buffer.alloc(0) };
      return { open, notice: (notice) => ({ ...named, ...silent, atMs: Math.floor(clock.wall()), notice }) };
    };
    const channel = new MergedChannel<LogsResponse>({
      clock,
      holdMs: follow ? followHoldMs : holdMs,
      orderOf: ({ atMs }) => atMs,
    });
    const meant = this.#meant({ ...request, task: request.taskId }, follow);
    yield* this.#streams.read(meant, streamOf, channel, call.signal);
  }

  /** What tasks use, one measurement each a second. */
  async *stats(request: StatsRequest, call: Call): AsyncGenerator<StatsResponse> {
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    const { clock } = this.#options;
    const { follow } = request;
    const caller = formatIdentity(call.caller);
    const streamOf = (view: TaskView): TaskStream<StatsResponse> => {
      const { id: taskId = '', stack = '', nodeId = '' } = view.task ?? {};
      const named = { taskId, taskName: this.#agents.nameOf(view), stack, hostname: this.#agents.hostname(nodeId) };
      async function* open(...[agent, signal]: Parameters<TaskStream<StatsResponse>['open']>) {
        for await (const { usage } of agent.stats({ taskId, follow, caller }, { signal })) {
          yield { ...named, usage, notice: '' };
        }
      }
      return { open, notice: (notice) => ({ ...named, usage: undefined, notice }) };
    };
    const channel = new MergedChannel<StatsResponse>({ clock, holdMs: 0, orderOf: () => 0 });
    yield* this.#streams.read(this.#meant(request, follow), streamOf, channel, call.signal);
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
    const view = this.#agents.task(start.value.task);
    const { task: _task, ...command } = start.value;
    const agent = this.#agents.ofTask(view);
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

  /** A task, with its container as far as its node shows one. */
  async inspect(request: InspectTaskRequest, call: Call): Promise<InspectTaskResponse> {
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    const view = this.#agents.task(request.task);
    const { id: taskId = '', nodeId = '' } = view.task ?? {};
    const answer = { task: view, hostname: nodeId === '' ? '' : this.#agents.hostname(nodeId) };
    try {
      const caller = formatIdentity(call.caller);
      const { containerJson } = await this.#agents.ofTask(view).inspect({ taskId, caller }, { signal: call.signal });
      return { ...answer, containerJson, notice: '' };
    } catch (error) {
      // The task is known whatever its node says.
      if (!isBerthError(error)) throw error;
      return { ...answer, containerJson: '', notice: error.message };
    }
  }

  async *loadImage(requests: AsyncIterable<LoadImageRequest>, call: Call): AsyncGenerator<LoadImageResponse> {
    const caller = formatIdentity(call.caller);
    this.#options.log.info({ caller }, 'load image');
    yield* this.#images.load(requests, caller, call.signal);
  }

  async *saveImage(request: SaveImageRequest, call: Call): AsyncGenerator<SaveImageResponse> {
    const caller = formatIdentity(call.caller);
    this.#options.log.info({ caller, image: request.name, node: request.node }, 'save image');
    yield* this.#images.save(request, caller, call.signal);
  }

  /** Says of a task whether it is meant. NotFound if there is none now. */
  #meant(selection: Selection, follow: boolean): Meant {
    if (selection.task !== '') {
      const id = this.#agents.task(selection.task).task?.id;
      return { isMeant: ({ task }) => task?.id === id, single: true, follow };
    }
    const namespace = selection.namespace || defaultNamespace;
    const isMeant = ({ task }: TaskView): boolean =>
      task?.namespace === namespace &&
      (selection.stack === '' || task.stack === selection.stack) &&
      (selection.service === '' || task.service === selection.service);
    if (!this.#agents.tasks().some(isMeant)) throw nothingMeant(selection);
    return { isMeant, single: false, follow };
  }
}

function nothingMeant({ stack, service }: Selection): BerthError {
  const what = stack === '' ? 'any stack' : service === '' ? `stack ${stack}` : `service ${service} of stack ${stack}`;
  return new BerthError('NotFound', `there is no task of ${what}`, { reason: 'NO_SUCH_TASK' });
}
