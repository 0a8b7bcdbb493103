import type {
  Clock,
  ContainerPhase,
  ContainerRuntime,
  ContainerState,
  ExecOptions,
  ExecSession,
  HostFacts,
  LogLine,
  LogOptions,
  RuntimeHint,
} from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { taskOf } from '../domain/labels.ts';
import type { RunPlan } from '../domain/run-plan.ts';

export interface HollowRuntimeOptions {
  readonly clock: Clock;
  /** Images that are there. */
  readonly images: readonly string[];
  /** Time a start takes. Default 100. */
  readonly startMs?: number;
  /** Time from the stop signal to the end. Default 100. */
  readonly stopMs?: number;
}

type Watcher = (hint: RuntimeHint) => void;

/** An engine without containers: the port's semantics on a clock that may be virtual. For tests and simulation. */
export class HollowRuntime implements ContainerRuntime<RunPlan> {
  /** False: every call fails, as with an engine that is away. */
  up = true;
  readonly volumes = new Set<string>();
  readonly signals: string[] = [];
  readonly #o: HollowRuntimeOptions;
  readonly #containers = new Map<string, ContainerState>();
  readonly #watchers = new Set<Watcher>();
  #ids = 0;

  constructor(options: HollowRuntimeOptions) {
    this.#o = options;
  }

  get containers(): readonly ContainerState[] {
    return [...this.#containers.values()];
  }

  /** The container of a task's latest run. */
  of(taskId: string): ContainerState | undefined {
    return this.containers.findLast((c) => taskOf(c)?.taskId === taskId);
  }

  /** A container's process ends by itself. */
  exit(id: string, exitCode: number): void {
    const state = this.#containers.get(id);
    if (state?.phase.kind !== 'running') return;
    const { startedAtMs } = state.phase;
    this.#change(state, { kind: 'exited', exitCode, startedAtMs, finishedAtMs: this.#now(), error: '' });
  }

  setHealth(id: string, health: ContainerState['health'], healthOutput = ''): void {
    const state = this.#containers.get(id);
    if (state) this.#put({ ...state, health, healthOutput });
  }

  async prepare(plan: RunPlan): Promise<void> {
    this.#check();
    if (!this.#o.images.includes(plan.container.image)) {
      throw new BerthError('FailedPrecondition', `image ${plan.container.image} is not here`, {
        reason: 'IMAGE_MISSING',
      });
    }
    for (const { name } of plan.volumes.values()) this.volumes.add(name);
  }

  async start(plan: RunPlan, signal: AbortSignal): Promise<string> {
    await this.#o.clock.sleep(this.#o.startMs ?? 100, signal);
    this.#check();
    if (signal.aborted) throw new BerthError('Cancelled', 'given up');
    const existing = this.containers.find((c) => c.name === plan.name);
    if (existing) return existing.id;
    this.#ids += 1;
    const state: ContainerState = {
      id: `hollow-${this.#ids}`,
      name: plan.name,
      labels: plan.labels,
      phase: { kind: 'running', startedAtMs: this.#now() },
      health: plan.container.healthcheck && !plan.container.healthcheck.disable ? 'starting' : 'none',
      healthOutput: '',
      ports: [],
    };
    this.#put(state);
    return state.id;
  }

  async stop(id: string): Promise<void> {
    this.#check();
    await this.#o.clock.sleep(this.#o.stopMs ?? 100);
    this.#check();
    this.exit(id, 143);
  }

  async remove(id: string): Promise<void> {
    this.#check();
    const state = this.#containers.get(id);
    this.#containers.delete(id);
    if (state) this.#hint({ kind: 'container', id, labels: state.labels });
  }

  async kill(id: string, signal: string): Promise<void> {
    this.#check();
    this.signals.push(`${id} ${signal}`);
  }

  async removeVolume(name: string): Promise<'removed' | 'absent' | 'in-use'> {
    this.#check();
    return this.volumes.delete(name) ? 'removed' : 'absent';
  }

  async list(): Promise<readonly ContainerState[]> {
    this.#check();
    return this.containers;
  }

  async inspect(id: string): Promise<ContainerState | undefined> {
    this.#check();
    return this.#containers.get(id);
  }

  async *watch(signal: AbortSignal): AsyncIterable<RuntimeHint> {
    const queue: RuntimeHint[] = [{ kind: 'gap' }];
    let wake = () => {};
    const watcher: Watcher = (hint) => {
      queue.push(hint);
      wake();
    };
    this.#watchers.add(watcher);
    const stop = () => wake();
    signal.addEventListener('abort', stop, { once: true });
    try {
      while (!signal.aborted) {
        const next = queue.shift();
        if (next) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#watchers.delete(watcher);
      signal.removeEventListener('abort', stop);
    }
  }

  /** The one line that each container says. */
  async *logs(id: string, options: LogOptions): AsyncIterable<LogLine> {
    this.#check();
    const state = this.#containers.get(id);
    const line = new TextEncoder().encode(`${state?.name} speaks`);
    yield { stderr: false, line, atMs: this.#now(), stamp: '' };
    while (options.follow && !options.signal.aborted && this.#containers.get(id)?.phase.kind === 'running') {
      await this.#o.clock.sleep(50, options.signal);
    }
  }

  /** Says back what is written, and ends with 0. */
  async exec(_id: string, options: ExecOptions): Promise<ExecSession> {
    const queue: Uint8Array[] = [new TextEncoder().encode(`${options.command.join(' ')}\n`)];
    let ended = false;
    let wake = () => {};
    const end = () => {
      ended = true;
      wake();
    };
    async function* output() {
      for (;;) {
        const data = queue.shift();
        if (data) yield { kind: 'stdout' as const, data };
        else if (ended) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      yield { kind: 'exit' as const, code: 0 };
    }
    return {
      output: output(),
      write: async (data) => {
        queue.push(data);
        wake();
      },
      endInput: end,
      resize: async () => {},
      close: end,
    };
  }

  async facts(): Promise<HostFacts> {
    return {
      hostname: 'hollow',
      cpuMillis: 4000,
      memoryBytes: 8 * 2 ** 30,
      os: 'linux',
      architecture: 'x86_64',
      engineVersion: '0',
      engineLabels: {},
    };
  }

  #now(): number {
    return Math.round(this.#o.clock.wall());
  }

  #change(state: ContainerState, phase: ContainerPhase): void {
    this.#put({ ...state, phase });
  }

  #put(state: ContainerState): void {
    this.#containers.set(state.id, state);
    this.#hint({ kind: 'container', id: state.id, labels: state.labels });
  }

  #hint(hint: RuntimeHint): void {
    for (const watcher of this.#watchers) watcher(hint);
  }

  #check(): void {
    if (!this.up) throw new BerthError('Unavailable', 'the engine is away', { reason: 'ENGINE_UNAVAILABLE' });
  }
}
