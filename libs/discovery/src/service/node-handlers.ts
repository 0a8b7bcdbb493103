import { WriteSet } from '@berth/changes';
import type {
  NodeServiceImplementation,
  RemoveNodeRequest,
  RemoveNodeResponse,
  ResumeRequest,
  ResumeResponse,
  UpdateNodeRequest,
  UpdateNodeResponse,
} from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import type { CallerContext, Clock, Logger, Store, TxnGroup } from '@berth/kernel';
import { assert, BerthError, formatIdentity } from '@berth/kernel';
import { findNode } from '@berth/workload';
import { changedLabels } from '../domain/labels.ts';
import { sameNode } from '../domain/public.ts';
import { registryOwner } from '../domain/records.ts';
import { checkRemovable } from '../domain/removal.ts';
import { removeNode, writeBrake, writeNode } from '../domain/writes.ts';
import type { Registry } from './registry.ts';

/** Races that a write may lose before its caller has to try again. */
const attemptsMax = 10;
const raceBackoffMs = 10;

export interface NodeHandlersOptions {
  readonly registry: Registry;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Call extends CallerContext {
  readonly signal: AbortSignal;
}

/** Serves `berth.registry.v1.NodeService`. */
export class NodeHandlers implements NodeServiceImplementation<CallerContext> {
  readonly #options: NodeHandlersOptions;

  constructor(options: NodeHandlersOptions) {
    this.#options = options;
  }

  async updateNode(request: UpdateNodeRequest, { caller, signal }: Call): Promise<UpdateNodeResponse> {
    const { registry, log } = this.#options;
    const { view } = registry;
    const id = await this.#commit(signal, () => {
      const before = this.#record(request.nodeId);
      const { node } = before.value;
      assert(node, 'a node record describes a node');
      if (before.value.removed) throw left(node.hostname);
      const labels = changedLabels(node.labels, { set: request.setLabels, remove: request.removeLabels });
      const record = { ...before.value, node: { ...node, labels } };
      if (sameNode(before.value, record)) return { result: node.id };
      return { result: node.id, write: writeNode(new WriteSet(registryOwner), record, before).group() };
    });
    log.info({ nodeId: id, caller: formatIdentity(caller) }, 'labels of a node set');
    return { node: view.node(id) };
  }

  async removeNode(request: RemoveNodeRequest, { caller, signal }: Call): Promise<RemoveNodeResponse> {
    const { registry, log } = this.#options;
    const { view, world } = registry;
    const id = await this.#commit(signal, () => {
      const before = this.#record(request.nodeId);
      const node = view.node(before.value.node?.id ?? '');
      assert(node, 'a node record describes a node');
      if (before.value.removed) return { result: node.id };
      checkRemovable(node, { force: request.force, tasksSynced: world.tasksSynced, tasks: registry.tasks() });
      return {
        result: node.id,
        write: removeNode(before, view.statuses.get(node.id), view.announcements.get(node.id)),
      };
    });
    log.info({ nodeId: id, force: request.force, caller: formatIdentity(caller) }, 'node removed');
    return { node: view.node(id) };
  }

  async resume(_request: ResumeRequest, { caller, signal }: Call): Promise<ResumeResponse> {
    const { registry, log } = this.#options;
    const nodeIds = await this.#commit(signal, () => {
      const before = registry.view.brake;
      if (!before || before.value.resumed) return { result: [] };
      const write = writeBrake({ ...before.value, resumed: true }, before);
      return { result: before.value.brake?.nodeIds ?? [], write };
    });
    log.warn({ nodeIds, caller: formatIdentity(caller) }, 'the brake is ended by an operator');
    return { nodeIds };
  }

  #record(ref: string) {
    const { view } = this.#options.registry;
    // One that has left answers to its whole id alone: its host name may be another's by now.
    const left = (id: string): boolean => view.nodeStatus(id) === NodeStatus.NODE_STATUS_LEFT;
    const meant = view.allNodes().filter(({ id }) => id === ref || !left(id));
    const record = view.nodes.get(findNode(meant, ref, true).id);
    assert(record, 'a listed node has a record');
    return record;
  }

  /** Decides on this replica's mirror, commits by compare, and decides again where another was faster. */
  async #commit<T>(signal: AbortSignal, decide: () => { readonly result: T; readonly write?: TxnGroup }): Promise<T> {
    const { registry, store, clock } = this.#options;
    const { epoch } = await registry.feed.waitFor(undefined, signal);
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const { result, write } = decide();
      if (!write) return result;
      const { committed, revision } = await store.txn(write);
      if (committed) {
        await registry.feed.waitFor({ epoch, revision }, signal);
        return result;
      }
      await clock.sleep(raceBackoffMs * attempt, signal);
    }
    throw new BerthError('Conflict', 'the node changes too fast: try again', { reason: 'RACE' });
  }
}

function left(hostname: string): BerthError {
  return new BerthError('FailedPrecondition', `node ${hostname} has left the cluster`, { reason: 'NODE_LEFT' });
}
