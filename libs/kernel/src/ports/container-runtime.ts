/** A container of this cluster as the engine shows it; what makes it Berth's are its labels. */
export interface ContainerState {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly phase: ContainerPhase;
  /** Verdict of the engine's health check; `none` if there is no check. */
  readonly health: 'none' | 'starting' | 'healthy' | 'unhealthy';
  /** Output of the last health check, cut to 500 characters; empty if none. */
  readonly healthOutput: string;
  /** Host ports as the engine published them. */
  readonly ports: readonly PublishedPort[];
}

export type ContainerPhase =
  | { readonly kind: 'created' }
  | { readonly kind: 'running'; readonly startedAtMs: number }
  | {
      readonly kind: 'exited';
      readonly exitCode: number;
      readonly startedAtMs: number;
      readonly finishedAtMs: number;
      /** What the engine says went wrong (could not start, out of memory); empty if nothing. */
      readonly error: string;
    };

export interface PublishedPort {
  readonly target: number;
  readonly published: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** Address bound on the host. */
  readonly hostIp: string;
}

/** Events are hints: something about this container changed; `gap` means that hints may have been missed: list again. */
export type RuntimeHint =
  | { readonly kind: 'container'; readonly id: string; readonly labels: Readonly<Record<string, string>> }
  | { readonly kind: 'gap' };

export interface LogOptions {
  readonly follow: boolean;
  /** Last lines to begin with; absent is all. */
  readonly tail?: number;
  /** Only lines since then, milliseconds since 1970; 0 is all. */
  readonly sinceMs: number;
  readonly signal: AbortSignal;
}

export interface LogLine {
  readonly stderr: boolean;
  /** One line without its end, or a part of a very long one. */
  readonly line: Uint8Array;
  readonly atMs: number;
  /** The engine's own timestamp text: orders and deduplicates lines more finely than milliseconds. */
  readonly stamp: string;
}

export interface ExecOptions {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly environment: readonly string[];
  /** Empty is the container's. */
  readonly user: string;
  /** Empty is the container's. */
  readonly workingDir: string;
  readonly size?: { readonly columns: number; readonly rows: number };
}

/** A command that runs in a container. */
export interface ExecSession {
  /** Output until the command ends; then one `exit`. */
  readonly output: AsyncIterable<
    { readonly kind: 'stdout' | 'stderr'; readonly data: Uint8Array } | { readonly kind: 'exit'; readonly code: number }
  >;
  write(data: Uint8Array): Promise<void>;
  endInput(): void;
  resize(columns: number, rows: number): Promise<void>;
  /** Gives up: the connection is closed. */
  close(): void;
}

/** What an engine's host offers. */
export interface HostFacts {
  readonly hostname: string;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly os: string;
  readonly architecture: string;
  readonly engineVersion: string;
  readonly engineLabels: Readonly<Record<string, string>>;
}

/**
 * The engine that runs containers. `Plan` is the agent's own description of one run of one task. All calls are
 * idempotent; errors are BerthError: Unavailable (engine away: try again), FailedPrecondition (this run can't start
 * here, with the reason and the remedy in the message), NotFound.
 */
export interface ContainerRuntime<Plan> {
  /** Makes ready what the run needs besides its networks: image and named volumes. A present image is never pulled. */
  prepare(plan: Plan, signal: AbortSignal): Promise<void>;
  /** Creates (if absent) and starts the run's container, once; its id. Of a run that failed (no such program, a port
   *  that is taken) the container says why. */
  start(plan: Plan, signal: AbortSignal): Promise<string>;
  /** Stop signal, up to the grace period, then SIGKILL: both as the container was made with. Resolves when it has stopped;
   *  an absent or stopped container is no error. */
  stop(id: string): Promise<void>;
  /** Removes a container with its anonymous volumes. An absent one is no error. */
  remove(id: string): Promise<void>;
  /** Sends a signal to a running container's first process. */
  kill(id: string, signal: string): Promise<void>;
  /** Removes a volume; `in-use` if a container still has it. */
  removeVolume(name: string): Promise<'removed' | 'absent' | 'in-use'>;
  /** All containers of this cluster, running or not. */
  list(): Promise<readonly ContainerState[]>;
  inspect(id: string): Promise<ContainerState | undefined>;
  /** Hints until the signal aborts; begins with `gap`, and again after each reconnect. */
  watch(signal: AbortSignal): AsyncIterable<RuntimeHint>;
  logs(id: string, options: LogOptions): AsyncIterable<LogLine>;
  exec(id: string, options: ExecOptions): Promise<ExecSession>;
  facts(): Promise<HostFacts>;
}
