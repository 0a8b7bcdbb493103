import type { Stack } from '@berth/contracts/scheduler';
import type { StackSpec, Task } from '@berth/contracts/workload';

/** Something that is not as promised. */
export interface Violation {
  readonly rule: Rule;
  /** Host, stack, service or key. */
  readonly where: string;
  readonly what: string;
}

export type Rule =
  /** A host that is on, or the store, doesn't answer: nothing can be said of it. */
  | 'unreadable'
  /** Fewer tasks run, and are healthy, than promised. */
  | 'missing'
  /** More run than promised. */
  | 'surplus'
  /** A slot, a task or a host's global task runs twice. */
  | 'twice'
  /** It runs, or lies about, and nobody wants it. */
  | 'orphan'
  /** It runs something else than what was last acknowledged. */
  | 'stale'
  /** What was acknowledged is not in the store, or what was taken back is. */
  | 'spec'
  /** A container that should have been left alone was replaced, restarted or stopped. */
  | 'touched'
  /** Something new started before what is no longer the host's own had stopped. */
  | 'order'
  /** A name gives other addresses than those of the healthy tasks. */
  | 'name'
  /** Something stands that was not there before. */
  | 'leftover';

/** A container as its engine shows it. */
export interface ContainerView {
  readonly id: string;
  readonly name: string;
  /** Name of the host in the lab. */
  readonly host: string;
  /** In the container's own eyes. */
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly running: boolean;
  /** undefined: it has no health check. */
  readonly health: string | undefined;
  /** RFC 3339 with nanoseconds, by the engine. */
  readonly startedAt: string;
  readonly restarts: number;
  readonly addresses: readonly Address[];
}

export interface Address {
  /** Name of the engine's network, or id of Berth's where only that is known. */
  readonly network: string;
  readonly ip: string;
}

export interface HostView {
  readonly name: string;
  readonly containers: readonly ContainerView[];
}

/** What etcd holds, read as root past all of Berth. */
export interface StoreView {
  readonly keys: readonly string[];
  readonly stacks: readonly Stack[];
  /** By stack's id. */
  readonly specs: ReadonlyMap<string, StackSpec>;
  readonly tasks: readonly Task[];
}

export interface Observation {
  /** Hosts that are on. */
  readonly hosts: readonly HostView[];
  /** Absent where the test has taken the store away. */
  readonly store?: StoreView;
}

export const berth = {
  cluster: 'berth.cluster',
  task: 'berth.task',
  stack: 'berth.stack',
  service: 'berth.service',
  node: 'berth.node',
  static: 'berth.static',
  joins: 'berth.joins',
} as const;

/** Of an application: not of the control plane, and not the agent itself. */
export function isApplication(container: ContainerView): boolean {
  return container.labels[berth.task] !== undefined && container.labels[berth.static] !== 'true';
}

/** It runs, and its health check, if it has one, has passed. */
export function isUp(container: ContainerView): boolean {
  return container.running && (container.health === undefined || container.health === 'healthy');
}

export function shortId(id: string): string {
  return id.slice(0, 12);
}

export function describe(container: ContainerView): string {
  const { stack, service, task } = berth;
  const { labels } = container;
  const state = container.running ? (container.health ?? 'running') : 'not running';
  return `${labels[stack]}/${labels[service]} ${container.hostname} on ${container.host} (container ${shortId(container.id)}, task ${labels[task]?.slice(0, 8)}, ${state})`;
}
