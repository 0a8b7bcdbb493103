import type { ChangeFeed, RemoteMirror } from '@berth/changes';
import { rpc } from '@berth/contracts';
import type { Change as RegistryChange } from '@berth/contracts/registry';
import type { Change } from '@berth/contracts/scheduler';
import type { BoundService } from '@berth/kernel';
import { bind } from '@berth/kernel';
import { Committer } from './committer.ts';
import { ControlHandler } from './control/control-handler.ts';
import { DispatchHandler } from './dispatch/dispatch-handler.ts';
import { Sessions } from './dispatch/sessions.ts';
import { Mirrors } from './mirrors.ts';
import type { SchedulerOptions } from './options.ts';
import { defaultSettings } from './options.ts';
import { Orchestrator } from './orchestrator/orchestrator.ts';
import { RuntimeProxy } from './runtime-proxy/runtime-proxy.ts';

/** One replica of the scheduler: serves clients and agents, and leads when elected. */
export class SchedulerService {
  /** What a server binds. */
  readonly services: readonly BoundService[];
  readonly #mirrors: Mirrors;
  readonly #orchestrator: Orchestrator;

  constructor(options: SchedulerOptions) {
    const settings = { ...defaultSettings, ...options.settings };
    const mirrors = new Mirrors(options);
    const committer = new Committer(options, mirrors);
    const runtime = new RuntimeProxy(options, mirrors);
    const sessions = new Sessions(mirrors, settings.drainDelayMs);
    this.#mirrors = mirrors;
    this.#orchestrator = new Orchestrator(options, settings, mirrors);
    this.services = [
      bind(rpc.control, new ControlHandler(options, mirrors, committer, runtime)),
      bind(rpc.dispatch, new DispatchHandler(options, mirrors, sessions, committer)),
    ];
  }

  /** The replica's mirror of what the scheduler owns: a publisher follows it. */
  get feed(): ChangeFeed<Change> {
    return this.#mirrors.feed;
  }

  /** The replica's mirror of the registry: its nodes, and who was revoked. */
  get registry(): RemoteMirror<RegistryChange> {
    return this.#mirrors.registry;
  }

  get leads(): boolean {
    return this.#orchestrator.leads;
  }

  /** True, or what is still missing before it can serve. */
  ready(): true | string {
    if (!this.#mirrors.feed.synced) return 'the store has not been read yet';
    if (!this.#mirrors.nodesSynced) return 'the registry does not answer';
    return true;
  }

  /** Runs until the signal aborts; rejects when a loop dies. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#mirrors.run(signal), this.#orchestrator.run(signal)]);
  }
}
