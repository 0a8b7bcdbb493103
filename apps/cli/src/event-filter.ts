import type { ChangeEvent } from '@berth/changes';
import { Change as NetworkChange } from '@berth/contracts/network';
import { Change as RegistryChange } from '@berth/contracts/registry';
import { Change as SchedulerChange } from '@berth/contracts/scheduler';

/** One change of any owner, typed. */
export type AnyChange = SchedulerChange | RegistryChange | NetworkChange;

const readers: Readonly<Record<string, (json: unknown) => AnyChange>> = {
  scheduler: SchedulerChange.fromJSON,
  registry: RegistryChange.fromJSON,
  network: NetworkChange.fromJSON,
};

/** Every kind of resource that changes are told of: what stands before the first `/` of a change's key. */
export const changeKinds = [
  'stack',
  'service',
  'task',
  'node',
  'availability',
  'endpoint',
  'member',
  'network',
  'lease',
];

/** The changes of an event; those of an owner that this program does not know are left out. */
export function changesOf(event: Pick<ChangeEvent, 'owner' | 'changes'>): AnyChange[] {
  const read = readers[event.owner];
  return read === undefined ? [] : event.changes.map((json) => read(json));
}

/** What is known of a stack before the first event: ids that its name has had, ids of its networks. */
export interface StackScopes {
  readonly stackIds: readonly string[];
  readonly networkIds: readonly string[];
}

/**
 * Which changes the user asked for. A stack is asked for by name, but most changes carry only ids: they are learned from
 * the events themselves, so a stack that is made while we follow is found too.
 */
export class EventFilter {
  readonly #stack: string | undefined;
  readonly #kinds: ReadonlySet<string>;
  readonly #scopes: Set<string>;

  /** `stack`: name or id; undefined is all. `kinds`: none is all. */
  constructor(
    options: { readonly stack?: string | undefined; readonly kinds: readonly string[] },
    known?: StackScopes,
  ) {
    this.#stack = options.stack;
    this.#kinds = new Set(options.kinds);
    this.#scopes = new Set([
      ...(options.stack === undefined ? [] : [`stack.${options.stack}`]),
      ...(known?.stackIds ?? []).map((id) => `stack.${id}`),
      ...(known?.networkIds ?? []).map((id) => `network.${id}`),
    ]);
  }

  /** The changes that pass, in order. */
  select(changes: readonly AnyChange[]): AnyChange[] {
    for (const change of changes) this.#learn(change);
    return changes.filter(
      ({ key, scopes }) =>
        (this.#kinds.size === 0 || this.#kinds.has(key.split('/', 1)[0] ?? '')) &&
        (this.#stack === undefined || scopes.some((scope) => this.#scopes.has(scope))),
    );
  }

  #learn({ resource, scopes }: AnyChange): void {
    if (this.#stack === undefined || resource === undefined) return;
    const belongs = (stackId: string): boolean => this.#scopes.has(`stack.${stackId}`);
    const isOurs =
      (resource.$case === 'stack' && resource.value.name === this.#stack) ||
      (resource.$case === 'network' && (resource.value.stack === this.#stack || belongs(resource.value.stackId))) ||
      (resource.$case === 'endpoint' && belongs(resource.value.stackId));
    if (isOurs) for (const scope of scopes) this.#scopes.add(scope);
  }
}
