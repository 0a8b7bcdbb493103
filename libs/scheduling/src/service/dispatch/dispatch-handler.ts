import { WriteSet } from '@berth/changes';
import { checkHello } from '@berth/contracts';
import type {
  DispatchServiceImplementation,
  ReportStaticRequest,
  ReportStaticResponse,
  ReportStatusRequest,
  ReportStatusResponse,
  SessionRequest,
  SessionResponse,
} from '@berth/contracts/scheduler';
import type { CallerContext } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { acceptStatuses } from '../../domain/dispatch/accept-status.ts';
import { same } from '../../domain/stack/canonical.ts';
import { families, owner } from '../../domain/state/families.ts';
import { staticTask } from '../../domain/view/static-stack.ts';
import type { Committer } from '../committer.ts';
import type { Mirrors } from '../mirrors.ts';
import type { SchedulerOptions } from '../options.ts';
import type { Sessions } from './sessions.ts';

/** What a handler uses of a call. */
type Call = CallerContext & { readonly signal: AbortSignal };

/** Statuses in one report. */
const statusesMax = 10_000;

/** Serves agents. Which node calls is said by its certificate, never by the request. */
export class DispatchHandler implements DispatchServiceImplementation<CallerContext> {
  readonly #options: SchedulerOptions;
  readonly #mirrors: Mirrors;
  readonly #sessions: Sessions;
  readonly #committer: Committer;

  constructor(options: SchedulerOptions, mirrors: Mirrors, sessions: Sessions, committer: Committer) {
    this.#options = options;
    this.#mirrors = mirrors;
    this.#sessions = sessions;
    this.#committer = committer;
  }

  async *session(request: SessionRequest, call: Call): AsyncGenerator<SessionResponse> {
    const { clusterId, log, observer } = this.#options;
    const nodeId = nodeOf(call);
    checkHello(request.hello, clusterId);
    log.info({ nodeId, peer: call.peer, since: request.since?.revision }, 'dispatch session');
    observer?.session(1);
    try {
      yield* this.#sessions.follow(nodeId, request, call.signal);
    } finally {
      observer?.session(-1);
    }
  }

  async reportStatus({ statuses }: ReportStatusRequest, call: Call): Promise<ReportStatusResponse> {
    const nodeId = nodeOf(call);
    if (statuses.length > statusesMax) {
      throw new BerthError('InvalidArgument', `more than ${statusesMax} statuses`, { reason: 'TOO_MANY' });
    }
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    // A task that another replica's leader has just made may not have come here yet.
    const { records } = this.#mirrors;
    for (const { taskId } of statuses) {
      if (!records.tasks.get(taskId)) await this.#committer.catchUp(families.task.key(taskId), () => false);
    }
    const { answer } = await this.#committer.commit(() => {
      const { groups, unknown } = acceptStatuses(records, nodeId, statuses);
      return { groups, answer: unknown };
    });
    return { unknownTaskIds: [...answer] };
  }

  async reportStatic(request: ReportStaticRequest, call: Call): Promise<ReportStaticResponse> {
    const nodeId = nodeOf(call);
    this.#needManager(nodeId);
    const { records } = this.#mirrors;
    await this.#committer.catchUp(families.static.key(nodeId), () => records.statics.get(nodeId) !== undefined);
    const tasks = request.tasks.map((task) => staticTask(nodeId, task)).sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const { id } of tasks) {
      if (id === '' || records.tasks.get(id)) {
        throw new BerthError('InvalidArgument', `static task id ${JSON.stringify(id)} is empty or taken`, {
          reason: 'BAD_STATIC_TASK',
        });
      }
    }
    const statuses = [...request.statuses].sort((a, b) => (a.taskId < b.taskId ? -1 : 1));
    const next = { nodeId, tasks, statuses };
    await this.#committer.commit(() => {
      const held = records.statics.get(nodeId);
      if (held && same(held.value, next)) return { groups: [], answer: undefined };
      const writes = new WriteSet(owner);
      if (held) writes.update(families.static, next, held);
      else writes.create(families.static, next);
      return { groups: [writes.group()], answer: undefined };
    });
    return {};
  }

  #needManager(nodeId: string): void {
    if (this.#mirrors.nodes.get(nodeId)?.manager) return;
    if (!this.#mirrors.nodesSynced || !this.#mirrors.nodes.get(nodeId)) {
      throw new BerthError('Unavailable', 'the registry has yet to say who the caller is', { reason: 'NOT_SYNCED' });
    }
    throw new BerthError('PermissionDenied', 'only a manager runs static tasks', { reason: 'NOT_A_MANAGER' });
  }
}

function nodeOf({ caller }: CallerContext): string {
  if (caller.role !== 'node') {
    throw new BerthError('PermissionDenied', 'only nodes are dispatched to', { reason: 'NOT_A_NODE' });
  }
  return caller.id;
}
