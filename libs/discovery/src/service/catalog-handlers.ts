import { checkHello } from '@berth/contracts';
import type {
  CatalogServiceImplementation,
  ChangesRequest,
  CompareHeadsRequest,
  ListMembersRequest,
  ListNodesRequest,
  WatchRequest,
} from '@berth/contracts/registry';
import type { CallerContext } from '@berth/kernel';
import type { Registry } from './registry.ts';

interface Call extends CallerContext {
  readonly signal: AbortSignal;
}

/** Serves `berth.registry.v1.CatalogService`, from this replica's mirror. */
export class CatalogHandlers implements CatalogServiceImplementation<CallerContext> {
  readonly #registry: Registry;
  readonly #clusterId: string;

  constructor(options: { readonly registry: Registry; readonly clusterId: string }) {
    this.#registry = options.registry;
    this.#clusterId = options.clusterId;
  }

  async listNodes(_request: ListNodesRequest, { signal }: Call) {
    const revision = await this.#registry.feed.waitFor(undefined, signal);
    const byName = (a: { hostname: string; id: string }, b: { hostname: string; id: string }): number =>
      `${a.hostname} ${a.id}` < `${b.hostname} ${b.id}` ? -1 : 1;
    const { view } = this.#registry;
    const brake = view.brake?.value;
    return { nodes: view.allNodes().sort(byName), revision, brake: brake?.resumed ? undefined : brake?.brake };
  }

  async listMembers(_request: ListMembersRequest, { signal }: Call) {
    await this.#registry.feed.waitFor(undefined, signal);
    const { view, caSha256 } = this.#registry;
    return { members: view.memberList(), clusterId: this.#clusterId, caSha256 };
  }

  async *watch(request: WatchRequest, { signal }: Call) {
    checkHello(request.hello, this.#clusterId);
    yield* this.#registry.feed.watch({ since: request.since, scopes: request.scopes }, signal);
  }

  changes(request: ChangesRequest, { signal }: Call) {
    return this.#registry.feed.changes(request.scope, request.since, signal);
  }

  compareHeads(request: CompareHeadsRequest, { signal }: Call) {
    return this.#registry.feed.compareHeads(request.heads, request.since, signal);
  }
}
