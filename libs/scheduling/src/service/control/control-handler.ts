import type { ScopeAnswer, WatchAnswer } from '@berth/changes';
import { WriteSet } from '@berth/changes';
import { checkHello } from '@berth/contracts';
import type {
  ApplyStackRequest,
  ApplyStackResponse,
  Change,
  ChangesRequest,
  ControlServiceImplementation,
  ExecRequest,
  ExecResponse,
  ExplainTaskRequest,
  ExplainTaskResponse,
  InspectTaskRequest,
  InspectTaskResponse,
  ListNodesRequest,
  ListNodesResponse,
  ListServicesRequest,
  ListServicesResponse,
  ListStacksRequest,
  ListStacksResponse,
  ListTasksRequest,
  ListTasksResponse,
  LoadImageRequest,
  LoadImageResponse,
  LogsRequest,
  LogsResponse,
  PlanStackRequest,
  PlanStackResponse,
  RemoveStackRequest,
  RemoveStackResponse,
  SaveImageRequest,
  SaveImageResponse,
  SetAvailabilityRequest,
  SetAvailabilityResponse,
  StatsRequest,
  StatsResponse,
  WatchRequest,
} from '@berth/contracts/scheduler';
import { Availability } from '@berth/contracts/scheduler';
import type { ServiceSpec, StackSpec } from '@berth/contracts/workload';
import type { CallerContext } from '@berth/kernel';
import { BerthError, newId } from '@berth/kernel';
import { defaultNamespace, findNode, staticStackId } from '@berth/workload';
import { eligibleNodes } from '../../domain/orchestration/global.ts';
import type { Acceptance } from '../../domain/stack/accept.ts';
import { acceptRemoval, acceptStack, givesWay, normalise } from '../../domain/stack/accept.ts';
import { bindNodeOf, relativeBinds } from '../../domain/stack/binds.ts';
import { same } from '../../domain/stack/canonical.ts';
import { diffStack } from '../../domain/stack/diff.ts';
import { validateStack } from '../../domain/stack/validate.ts';
import { families, owner } from '../../domain/state/families.ts';
import { explainTask, pendingNow } from '../../domain/view/explain.ts';
import { findTask } from '../../domain/view/find-task.ts';
import { listServices, listStacks, listTasks, nodeView } from '../../domain/view/listing.ts';
import type { Committer, Proposal } from '../committer.ts';
import type { Mirrors } from '../mirrors.ts';
import type { SchedulerOptions } from '../options.ts';
import type { RuntimeProxy } from '../runtime-proxy/runtime-proxy.ts';

type Call = CallerContext & { readonly signal: AbortSignal };

const availabilities: ReadonlySet<Availability> = new Set([
  Availability.AVAILABILITY_ACTIVE,
  Availability.AVAILABILITY_PAUSE,
  Availability.AVAILABILITY_DRAIN,
]);

/** Serves clients: desired state in, resources out. Any replica serves; only writes are ordered, by compares. */
export class ControlHandler implements ControlServiceImplementation<CallerContext> {
  readonly #options: SchedulerOptions;
  readonly #mirrors: Mirrors;
  readonly #committer: Committer;
  readonly #runtime: RuntimeProxy;

  constructor(options: SchedulerOptions, mirrors: Mirrors, committer: Committer, runtime: RuntimeProxy) {
    this.#options = options;
    this.#mirrors = mirrors;
    this.#committer = committer;
    this.#runtime = runtime;
  }

  async applyStack(request: ApplyStackRequest): Promise<ApplyStackResponse> {
    const spec = specOf(request.spec);
    const { rng } = this.#options;
    await this.#catchUp(spec.namespace, spec.name);
    await this.#checkNetworks(spec);
    const id = newId(rng);
    const { nodes, records } = this.#mirrors;
    const nodesSynced = (): boolean => this.#mirrors.nodesSynced;
    const { answer, revision } = await this.#committer.commit(() =>
      proposal(
        acceptStack(records, spec, {
          newId: id,
          expectedVersion: request.expectedVersion,
          eligible: (service) => this.#eligible(service),
          bindNode: () => this.#bindNode(spec),
          givesWay: (stackId) => nodesSynced() && givesWay(records, nodes.view(records), stackId),
        }),
      ),
    );
    const changes = answer.kind === 'write' ? [...answer.changes] : [];
    return { stack: answer.stack, revision, changes };
  }

  async planStack(request: PlanStackRequest): Promise<PlanStackResponse> {
    const spec = specOf(request.spec);
    await this.#catchUp(spec.namespace, spec.name);
    const { records } = this.#mirrors;
    const stack = records.stacks.get(spec.namespace, spec.name)?.value.stack;
    const now = stack && !stack.removing ? stack : undefined;
    const before = now && records.specs.get(now.id)?.value.spec;
    const changes = diffStack(before, spec, (service) => this.#eligible(service));
    if (changes.length > 0) this.#bindNode(spec);
    return {
      changes,
      version: now?.version ?? 0,
      revision: this.#mirrors.feed.revision,
    };
  }

  async removeStack({ name, namespace, volumes }: RemoveStackRequest): Promise<RemoveStackResponse> {
    const where = namespace || defaultNamespace;
    if (where === defaultNamespace && name === staticStackId) {
      throw new BerthError('FailedPrecondition', `stack ${name} is the control plane itself; "npm stop" ends it`, {
        reason: 'STATIC_STACK',
      });
    }
    const { rng } = this.#options;
    await this.#catchUp(where, name);
    const { answer, revision } = await this.#committer.commit(() =>
      proposal(acceptRemoval(this.#mirrors.records, { namespace: where, name, volumes, newId: () => newId(rng) })),
    );
    return { stack: answer.stack, revision };
  }

  async listStacks({ namespace }: ListStacksRequest, call: Call): Promise<ListStacksResponse> {
    const revision = await this.#mirrors.feed.waitFor(undefined, call.signal);
    return { stacks: listStacks(this.#mirrors.feed.resources, namespace), revision };
  }

  async listServices(request: ListServicesRequest, call: Call): Promise<ListServicesResponse> {
    const revision = await this.#mirrors.feed.waitFor(undefined, call.signal);
    return { services: listServices(this.#mirrors.feed.resources, request), revision };
  }

  async listTasks(request: ListTasksRequest, call: Call): Promise<ListTasksResponse> {
    const revision = await this.#mirrors.feed.waitFor(undefined, call.signal);
    return { tasks: listTasks(this.#mirrors.feed.resources, request), revision };
  }

  async listNodes(_request: ListNodesRequest, call: Call): Promise<ListNodesResponse> {
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    if (!this.#mirrors.nodesSynced && this.#mirrors.nodes.present().length === 0) {
      throw new BerthError('Unavailable', 'the registry has yet to say which nodes there are', {
        reason: 'NOT_SYNCED',
      });
    }
    const nodes = this.#mirrors.nodes.present().map((node) => nodeView(this.#mirrors.records, node));
    return { nodes: nodes.sort((a, b) => (a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0)) };
  }

  async setAvailability(
    { availability, node: text }: SetAvailabilityRequest,
    call: Call,
  ): Promise<SetAvailabilityResponse> {
    if (!availabilities.has(availability)) {
      throw new BerthError('InvalidArgument', 'the availability is to be active, pause or drain', {
        reason: 'BAD_AVAILABILITY',
      });
    }
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    const { nodes, nodesSynced, records } = this.#mirrors;
    const node = findNode(nodes.present(), text, nodesSynced);
    const key = families.availability.key(node.id);
    await this.#committer.catchUp(key, () => records.availabilities.get(node.id) !== undefined);
    const { revision } = await this.#committer.commit(() => {
      const held = records.availabilities.get(node.id);
      const now = held?.value.availability || Availability.AVAILABILITY_ACTIVE;
      if (now === availability) return { groups: [], answer: undefined };
      const next = { nodeId: node.id, availability };
      const writes = new WriteSet(owner);
      if (held) writes.update(families.availability, next, held);
      else writes.create(families.availability, next);
      return { groups: [writes.group()], answer: undefined };
    });
    return { node: nodeView(records, node), revision };
  }

  async explainTask(request: ExplainTaskRequest, call: Call): Promise<ExplainTaskResponse> {
    await this.#mirrors.feed.waitFor(undefined, call.signal);
    const { feed, nodes, records } = this.#mirrors;
    const hostnameOf = (nodeId: string): string => nodes.get(nodeId)?.hostname ?? nodeId;
    const views = [...feed.resources.values()].flatMap(({ resource }) =>
      resource?.$case === 'task' ? [resource.value] : [],
    );
    const view = findTask(views, request.task, hostnameOf);
    const pending =
      view.task && !view.task.static ? pendingNow(records, nodes.candidates(records), view.task) : undefined;
    const reasons = explainTask(records, view, pending, hostnameOf);
    if (pending && !this.#mirrors.nodesSynced)
      reasons.unshift('the registry does not answer: nothing is placed meanwhile');
    return { task: view, reasons, pending };
  }

  watch(request: WatchRequest, call: Call): AsyncGenerator<WatchAnswer<Change>> {
    checkHello(request.hello, this.#options.clusterId);
    return this.#mirrors.feed.watch({ since: request.since, scopes: request.scopes }, call.signal);
  }

  changes({ scope, since }: ChangesRequest, call: Call): Promise<ScopeAnswer<Change>> {
    return this.#mirrors.feed.changes(scope, since, call.signal);
  }

  logs(request: LogsRequest, call: Call): AsyncGenerator<LogsResponse> {
    return this.#runtime.logs(request, call);
  }

  exec(requests: AsyncIterable<ExecRequest>, call: Call): AsyncGenerator<ExecResponse> {
    return this.#runtime.exec(requests, call);
  }

  inspectTask(request: InspectTaskRequest, call: Call): Promise<InspectTaskResponse> {
    return this.#runtime.inspect(request, call);
  }

  stats(request: StatsRequest, call: Call): AsyncGenerator<StatsResponse> {
    return this.#runtime.stats(request, call);
  }

  loadImage(requests: AsyncIterable<LoadImageRequest>, call: Call): AsyncGenerator<LoadImageResponse> {
    return this.#runtime.loadImage(requests, call);
  }

  saveImage(request: SaveImageRequest, call: Call): AsyncGenerator<SaveImageResponse> {
    return this.#runtime.saveImage(request, call);
  }

  #catchUp(namespace: string, name: string): Promise<void> {
    const { records } = this.#mirrors;
    const key = families.stack.key(namespace, name);
    return this.#committer.catchUp(key, () => records.stacks.get(namespace, name) !== undefined);
  }

  /** Asks the network-manager for its part, before anything is written. The same networks again are no question. */
  async #checkNetworks(spec: StackSpec): Promise<void> {
    const { namespace, name, networks } = spec;
    const stack = this.#mirrors.records.stacks.get(namespace, name)?.value.stack;
    if (networks.length === 0 || (stack && !stack.removing && same(stack.networks, networks))) return;
    await this.#options.networkManager.checkStack({ namespace, stack: name, networks });
  }

  /** How many nodes there are counts only where the registry has said all. */
  #bindNode(spec: StackSpec): string {
    const { nodes, nodesSynced } = this.#mirrors;
    if (!nodesSynced && spec.services.some((service) => relativeBinds(service).length > 0)) {
      throw new BerthError('Unavailable', 'the registry does not say which nodes there are', { reason: 'NOT_SYNCED' });
    }
    return bindNodeOf(spec, nodes.present());
  }

  #eligible({ constraints }: ServiceSpec): number {
    return eligibleNodes(this.#mirrors.nodes.view(this.#mirrors.records), constraints).length;
  }
}

function specOf(spec: StackSpec | undefined): StackSpec {
  if (!spec) throw new BerthError('InvalidArgument', 'the request has no spec', { reason: 'BAD_SPEC' });
  const normal = normalise(spec);
  validateStack(normal);
  return normal;
}

function proposal(acceptance: Acceptance): Proposal<Acceptance> {
  return { answer: acceptance, groups: acceptance.kind === 'write' ? acceptance.groups : [] };
}
