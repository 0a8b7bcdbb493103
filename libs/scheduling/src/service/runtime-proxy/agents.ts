import type { RuntimeServiceClient } from '@berth/contracts/agent';
import type { Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { TaskView } from '@berth/contracts/scheduler';
import type { CallExtra } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { effectiveState, findNode, isEnded, taskName } from '@berth/workload';
import { findTask } from '../../domain/view/find-task.ts';
import type { Mirrors } from '../mirrors.ts';
import type { SchedulerOptions } from '../options.ts';

export type Agent = RuntimeServiceClient<CallExtra>;

/** Tasks and nodes as people name them, and the agents behind them. */
export class Agents {
  readonly #options: Pick<SchedulerOptions, 'agentOf'>;
  readonly #mirrors: Mirrors;

  constructor(options: Pick<SchedulerOptions, 'agentOf'>, mirrors: Mirrors) {
    this.#options = options;
    this.#mirrors = mirrors;
  }

  /** All tasks, static ones too. */
  tasks(): TaskView[] {
    return [...this.#mirrors.feed.resources.values()].flatMap(({ resource }) =>
      resource?.$case === 'task' ? [resource.value] : [],
    );
  }

  /** Errors as of `findTask`. */
  task(text: string): TaskView {
    return findTask(this.tasks(), text, (nodeId) => this.hostname(nodeId));
  }

  isOver(taskId: string): boolean {
    const view = this.tasks().find(({ task }) => task?.id === taskId);
    return view?.task === undefined || isEnded(effectiveState(view.task, view.status));
  }

  nameOf({ task }: TaskView): string {
    return task ? taskName(task, this.hostname(task.nodeId)) : '';
  }

  hostname(nodeId: string): string {
    return this.#mirrors.nodes.get(nodeId)?.hostname ?? nodeId;
  }

  /** The agent of a task's node. FailedPrecondition if it has none yet; Unavailable if nobody can reach it. */
  ofTask({ task }: TaskView): Agent {
    if (!task || task.nodeId === '') {
      throw new BerthError('FailedPrecondition', 'the task has no node yet', { reason: 'TASK_PENDING' });
    }
    const node = this.#mirrors.nodes.get(task.nodeId);
    if (!node) throw new BerthError('Unavailable', `node ${task.nodeId} is not known now`, { reason: 'NO_SUCH_NODE' });
    return this.ofNode(node);
  }

  /** Unavailable at once, without trying, if the registry has given the node up. */
  ofNode(node: Node): Agent {
    if (node.status === NodeStatus.NODE_STATUS_LOST || node.status === NodeStatus.NODE_STATUS_LEFT) {
      const state = node.status === NodeStatus.NODE_STATUS_LOST ? 'is lost' : 'has left';
      throw new BerthError('Unavailable', `node ${node.hostname} ${state}`, { reason: 'NODE_GONE' });
    }
    return this.#options.agentOf(node);
  }

  /** Errors as of `findNode`. */
  node(text: string): Node {
    return findNode(this.#mirrors.nodes.present(), text, this.#mirrors.nodesSynced);
  }

  readyNodes(): Node[] {
    return this.#mirrors.nodes.present().filter(({ status }) => status === NodeStatus.NODE_STATUS_READY);
  }
}
