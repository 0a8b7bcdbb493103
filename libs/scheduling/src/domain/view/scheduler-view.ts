import type { View } from '@berth/changes';
import type { Change, Service, ServiceRecord } from '@berth/contracts/scheduler';
import type { MirrorChange, StoredEntry } from '@berth/kernel';
import { nodeScope, stackScope, staticStackId } from '@berth/workload';
import { same } from '../stack/canonical.ts';
import type { Touched } from '../state/records.ts';
import { Records } from '../state/records.ts';
import { staticStack } from './static-stack.ts';

type Resource = NonNullable<Change['resource']>;

/**
 * The scheduler's public resources, made of its records: stacks without their specs, services with the number of tasks
 * that run, tasks with what their agents say, nodes' availability, and the control plane's own stack. It also keeps the
 * records, for everything else in this replica that reads them.
 */
export class SchedulerView implements View<Change> {
  readonly records = new Records();
  readonly #current = new Map<string, Change>();
  #staticKeys: ReadonlySet<string> = new Set();
  #touched: Touched | undefined;

  /** What the last step changed; undefined: everything. */
  get touched(): Touched | undefined {
    return this.#touched;
  }

  reset(entries: readonly StoredEntry[]): readonly Change[] {
    this.records.reset(entries);
    this.#touched = undefined;
    this.#current.clear();
    this.#staticKeys = new Set();
    for (const id of this.records.stackIds()) this.#publishStack(id, []);
    for (const { value } of this.records.services.values()) this.#publishService(value.service?.id ?? '', []);
    for (const { value } of this.records.tasks.values()) this.#publishTask(value.id, []);
    for (const { value } of this.records.availabilities.values()) this.#publishAvailability(value.nodeId, []);
    this.#publishStatics([]);
    return this.snapshot();
  }

  apply(changes: readonly MirrorChange[]): readonly Change[] {
    const touched = this.records.apply(changes);
    this.#touched = touched;
    const published: Change[] = [];
    for (const id of touched.stacks) this.#publishStack(id, published);
    for (const id of touched.services) this.#publishService(id, published);
    for (const id of touched.tasks) this.#publishTask(id, published);
    for (const id of touched.nodes) this.#publishAvailability(id, published);
    if (touched.nodes.size > 0) this.#publishStatics(published);
    return published;
  }

  snapshot(): readonly Change[] {
    return [...this.#current.values()];
  }

  #publishStack(id: string, published: Change[]): void {
    const stack = this.records.stack(id)?.value.stack;
    const resource: Resource | undefined = stack && { $case: 'stack', value: stack };
    this.#publish({ scopes: [stackScope(id)], key: `stack/${id}`, resource }, published);
  }

  #publishService(id: string, published: Change[]): void {
    const record = this.records.services.get(id)?.value;
    const service = record && shownService(this.records, record);
    const resource: Resource | undefined = service && { $case: 'service', value: service };
    this.#publish({ scopes: [stackScope(service?.stackId ?? '')], key: `service/${id}`, resource }, published);
  }

  #publishTask(id: string, published: Change[]): void {
    const task = this.records.tasks.get(id)?.value;
    const status = this.records.status(id);
    const resource: Resource | undefined = task && { $case: 'task', value: { task, status } };
    this.#publish({ scopes: [stackScope(task?.stackId ?? '')], key: `task/${id}`, resource }, published);
  }

  #publishAvailability(nodeId: string, published: Change[]): void {
    const value = this.records.availabilities.get(nodeId)?.value;
    const resource: Resource | undefined = value && { $case: 'availability', value };
    this.#publish({ scopes: [nodeScope(nodeId)], key: `availability/${nodeId}`, resource }, published);
  }

  #publishStatics(published: Change[]): void {
    const statics = staticStack(this.records);
    const scopes = [stackScope(staticStackId)];
    const now = new Map<string, Resource>();
    if (statics) {
      now.set(`stack/${statics.stack.id}`, { $case: 'stack', value: statics.stack });
      for (const value of statics.services) now.set(`service/${value.id}`, { $case: 'service', value });
      for (const value of statics.tasks) now.set(`task/${value.task.id}`, { $case: 'task', value });
    }
    for (const key of this.#staticKeys) {
      if (!now.has(key)) this.#publish({ scopes, key, resource: undefined }, published);
    }
    this.#staticKeys = new Set(now.keys());
    for (const [key, resource] of now) this.#publish({ scopes, key, resource }, published);
  }

  /** A resource that is as it was is no change; one that is gone goes in the scopes it had. */
  #publish(change: Change, published: Change[]): void {
    const held = this.#current.get(change.key);
    if (change.resource === undefined) {
      if (!held) return;
      this.#current.delete(change.key);
      published.push({ ...change, scopes: held.scopes });
      return;
    }
    if (held && same(held.resource, change.resource)) return;
    this.#current.set(change.key, change);
    published.push(change);
  }
}

/** A service with the number of its tasks that run. */
export function shownService(records: Records, record: ServiceRecord): Service | undefined {
  const { service } = record;
  if (!service) return undefined;
  const removing = record.removing || records.stack(service.stackId)?.value.stack?.removing === true;
  const running = records.servingTasks(service.id);
  return { ...service, running, wanted: removing ? 0 : service.wanted };
}
