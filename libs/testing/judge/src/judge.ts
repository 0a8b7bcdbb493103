import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { containersOf } from './engine.ts';
import { EngineEvents } from './engine-events.ts';
import { inventoryOf } from './inventory.ts';
import type { HostView, Observation, StoreView, Violation } from './observation.ts';
import { berth, shortId } from './observation.ts';
import type { PromisedStack } from './promise.ts';
import { promiseOf } from './promise.ts';
import type { Inventories, Inventory } from './rules/leftovers.ts';
import { judgeLeftovers, judgeSame } from './rules/leftovers.ts';
import { judgeNames, parseAnswers, questionScript, questionsOf } from './rules/names.ts';
import { judgeOrder } from './rules/order.ts';
import { judgeReplicas } from './rules/replicas.ts';
import { judgeStore } from './rules/store.ts';
import type { Snapshot } from './rules/untouched.ts';
import { judgeUntouched, snapshotOf } from './rules/untouched.ts';
import { lastingKeys, readEntries, storeOf } from './store.ts';

/** The cluster that is judged. `startCluster()`'s answer is one. */
export interface JudgedCluster {
  readonly lab: { readonly hosts: readonly Host[] };
  /** The manager. */
  readonly host: Host;
  /** State folder of the manager's agent. */
  readonly stateDir: string;
}

export interface VerdictOptions {
  /** `stack/service` → tasks that can run now, where the test knows that not all can. */
  readonly except?: Readonly<Record<string, number>>;
  /** Read etcd. Default true; false where the test has taken it away. */
  readonly store?: boolean;
  /** Ask for the names in containers on every host. Default true. */
  readonly names?: boolean;
}

export interface SettledOptions extends VerdictOptions {
  /** Default 30,000. */
  readonly withinMs?: number;
}

const pollMs = 250;
const namesTimeoutMs = 15_000;

/**
 * Compares what runs with what was promised: it reads every host's engine and kernel, and etcd, past all of Berth; and
 * what was promised is what the test tells it of acknowledged requests.
 */
export class Judge {
  readonly #cluster: JudgedCluster;
  readonly #promised = new Map<string, PromisedStack>();
  readonly #outside = new Set<Host>();

  /** `outside`: hosts of the lab that are no part of the cluster yet. */
  constructor(cluster: JudgedCluster, outside: readonly Host[] = []) {
    this.#cluster = cluster;
    for (const host of outside) this.#outside.add(host);
  }

  /** `up` of this Compose file was acknowledged. */
  promised(compose: string): void {
    const stack = promiseOf(compose);
    this.#promised.set(stack.name, stack);
  }

  /** `down` of this stack was acknowledged. */
  withdrawn(stack: string): void {
    this.#promised.delete(stack);
  }

  /** Acknowledged: the host is drained, or not (or no longer) of the cluster; nothing of an application may run there. */
  excluded(host: Host): void {
    this.#outside.add(host);
  }

  /** Acknowledged: the host is active, or has joined. */
  included(host: Host): void {
    this.#outside.delete(host);
  }

  /** Everything that is not as promised, now. */
  async verdict(options: VerdictOptions = {}): Promise<Violation[]> {
    const { observation, unreadable } = await this.#observe(options.store ?? true);
    const promised = [...this.#promised.values()];
    const eligible = this.#on.filter((host) => !this.#outside.has(host)).map(({ name }) => name);
    const { hosts, store } = observation;
    const violations = [
      ...unreadable,
      ...judgeReplicas({ hosts, promised, eligible, except: options.except }),
      ...(store ? judgeStore(store, promised, hosts) : []),
    ];
    if (violations.length > 0 || options.names === false) return violations;
    return this.#names(hosts, promised);
  }

  /** Waits until all is as promised; returns the milliseconds it took, or throws with what is not. */
  async settled(options: SettledOptions = {}): Promise<number> {
    const { withinMs = 30_000 } = options;
    const began = performance.now();
    for (;;) {
      const violations = await this.verdict(options);
      const ms = performance.now() - began;
      if (violations.length === 0) return Math.round(ms);
      if (ms > withinMs)
        throw new Error(`not as promised after ${Math.round(ms)} ms:\n${formatViolations(violations)}`);
      await sleep(pollMs);
    }
  }

  /** The same, now or never. */
  async holds(options: VerdictOptions = {}): Promise<void> {
    throwOn(await this.verdict(options));
  }

  /** Running containers of applications on all hosts that are on, or on these. */
  async snapshot(hosts: readonly Host[] = this.#on): Promise<Snapshot> {
    return snapshotOf(await viewsOf(hosts));
  }

  /** Throws unless every container of the snapshot still runs as the same start. */
  async untouched(before: Snapshot): Promise<void> {
    throwOn(judgeUntouched(before, await viewsOf(this.#on)));
  }

  /**
   * Watches one host's engine from now on; `end()` throws when, by the engine's times, something new was started before
   * what no longer was the host's own had stopped. Begin it before the host can hear of its loss.
   */
  async watchOrder(host: Host): Promise<{ end(): Promise<void> }> {
    const events = new EngineEvents(host);
    await events.start();
    const before = host.initPid === undefined ? [] : await this.snapshot([host]);
    return {
      end: async () => {
        const after = await this.snapshot([host]);
        const tasksOf = (snapshot: Snapshot): string[] => snapshot.map(({ labels }) => labels[berth.task] ?? '');
        const seen = await events.end();
        throwOn(judgeOrder({ host: host.name, before: tasksOf(before), after: tasksOf(after), events: seen }));
      },
    };
  }

  /** What stands on every host that is on and in etcd; or on these hosts alone. */
  async inventory(hosts?: readonly Host[]): Promise<Inventories> {
    const asked = hosts ?? this.#on;
    const inventories = await Promise.all(asked.map(inventoryOf));
    const store: [string, Inventory][] = hosts ? [] : [['etcd', { key: lastingKeys(await this.#store()) }]];
    return new Map([...inventories.map((each, index) => [asked[index]?.name ?? '', each] as const), ...store]);
  }

  /** Throws when, after `withinMs` (default 15,000), anything stands that did not at `before`. */
  async nothingLeft(before: Inventories, withinMs = 15_000): Promise<void> {
    await this.#compared(before, judgeLeftovers, withinMs);
  }

  /** Throws when, after `withinMs` (default 15,000), what stands is not just what did at `before`. */
  async same(before: Inventories, withinMs = 15_000): Promise<void> {
    await this.#compared(before, judgeSame, withinMs);
  }

  async #compared(before: Inventories, rule: typeof judgeSame, withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    const hosts = before.has('etcd') ? undefined : this.#on.filter(({ name }) => before.has(name));
    for (;;) {
      const violations = rule(before, await this.inventory(hosts));
      if (violations.length === 0) return;
      if (performance.now() > deadline) throwOn(violations);
      await sleep(pollMs);
    }
  }

  get #on(): Host[] {
    return this.#cluster.lab.hosts.filter(({ initPid }) => initPid !== undefined);
  }

  async #observe(withStore: boolean): Promise<{ observation: Observation; unreadable: Violation[] }> {
    const unreadable: Violation[] = [];
    const orNothing = async <T>(where: string, read: Promise<T>): Promise<T | undefined> => {
      try {
        return await read;
      } catch (error) {
        unreadable.push({ rule: 'unreadable', where, what: error instanceof Error ? error.message : String(error) });
        return undefined;
      }
    };
    const [store, ...hosts] = await Promise.all([
      withStore ? orNothing('etcd', this.#store()) : undefined,
      ...this.#on.map((host) => orNothing(host.name, viewOfHost(host))),
    ]);
    return { observation: { hosts: hosts.filter((host) => host !== undefined), store }, unreadable };
  }

  async #store(): Promise<StoreView> {
    return storeOf(await readEntries({ manager: this.#cluster.host, stateDir: this.#cluster.stateDir }));
  }

  async #names(hosts: readonly HostView[], promised: readonly PromisedStack[]): Promise<Violation[]> {
    const questions = questionsOf(hosts, promised);
    const verdicts = await Promise.all(
      questions.map(async (question) => {
        const host = this.#on.find(({ name }) => name === question.asker.host);
        const script = questionScript(question.expected.keys());
        const asked = await host?.tryExec(['docker', 'exec', question.asker.id, 'sh', '-c', script], {
          signal: AbortSignal.timeout(namesTimeoutMs),
        });
        if (asked?.code === 0) return judgeNames(question, parseAnswers(asked.stdout));
        const what = `container ${shortId(question.asker.id)} can't be asked: ${asked?.stderr ?? 'its host is off'}`;
        return [{ rule: 'unreadable', where: question.asker.host, what } satisfies Violation];
      }),
    );
    return verdicts.flat();
  }
}

async function viewOfHost(host: Host): Promise<HostView> {
  return { name: host.name, containers: await containersOf(host.name, host.socket) };
}

async function viewsOf(hosts: readonly Host[]): Promise<HostView[]> {
  return Promise.all(hosts.map(viewOfHost));
}

export function formatViolations(violations: readonly Violation[]): string {
  return violations.map(({ rule, where, what }) => `- ${rule} · ${where}: ${what}`).join('\n');
}

function throwOn(violations: readonly Violation[]): void {
  if (violations.length > 0) throw new Error(`not as promised:\n${formatViolations(violations)}`);
}
