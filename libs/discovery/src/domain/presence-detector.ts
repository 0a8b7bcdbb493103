import type { NodeStatusRecord, Presence } from '@berth/contracts/registry';
import { NodeStatus, PresenceState } from '@berth/contracts/registry';
import type { PresenceTiming } from './timing.ts';

/** A host that is up gets this long for its agent to come back: a refused connection or a word of restarting says so. */
const agentDownGraceMs = 60_000;
/** Nodes lost within this time count as part of one outage when the brake is looked at. */
const outageMs = 60_000;

/** What the leader sees of one node. */
export interface NodeSight {
  readonly nodeId: string;
  /** The status record; absent before the first. */
  readonly status: NodeStatusRecord | undefined;
  /** What the replica that holds its stream says; absent if that replica died or there never was a stream. */
  readonly presence: Presence | undefined;
}

export interface PresenceInput {
  /** Of a clock that never jumps. */
  readonly nowMs: number;
  readonly timing: PresenceTiming;
  readonly nodes: readonly NodeSight[];
}

export type ProbeAnswer =
  /** The agent's port took the connection. */
  | 'open'
  /** The host refused it: host up, agent down. */
  | 'refused';

export type PresenceAction =
  | { readonly kind: 'set-status'; readonly status: NodeStatusRecord }
  | { readonly kind: 'probe'; readonly nodeId: string };

export interface PresenceDecision {
  readonly actions: readonly PresenceAction[];
  /** Nodes that would be lost, were the brake not on. */
  readonly held: readonly string[];
}

interface Memory {
  /** Start of the silence; absent while heartbeats come. */
  silentSinceMs: number | undefined;
  /** This leader has seen the node alive: how long its replica has missed it may be believed. */
  seenAlive: boolean;
  restarting: boolean;
  openAtMs: number;
  refusedAtMs: number;
  probedAtMs: number;
  /** Since when its agent has had no full set from dispatch. */
  unsyncedSinceMs: number | undefined;
  lostAtMs: number;
}

const never = Number.NEGATIVE_INFINITY;

/**
 * Moves node statuses by what the replicas say of the streams and what probes answer. Two heartbeats missed: suspect, and
 * probes start. Lost: the lease is over and no probe has been answered for a lease; a host that is up with its agent down
 * gets 60 s. Where more than half of the ready nodes, and more than one, are suspect or lost when the first would become
 * lost, the brake is on: none becomes lost until enough have returned.
 */
export class PresenceDetector {
  #memory = new Map<string, Memory>();
  #brake = false;

  get brake(): boolean {
    return this.#brake;
  }

  /** All counts start anew: for a new leader, and for one whose own timers were late. */
  restart(): void {
    this.#memory = new Map();
    this.#brake = false;
  }

  /** A probe of a node was answered. */
  answered(nodeId: string, answer: ProbeAnswer, nowMs: number): void {
    const memory = this.#of(nodeId);
    if (answer === 'open') memory.openAtMs = nowMs;
    else memory.refusedAtMs = nowMs;
  }

  decide(input: PresenceInput): PresenceDecision {
    const { nowMs, timing } = input;
    const known = new Set(input.nodes.map(({ nodeId }) => nodeId));
    for (const id of this.#memory.keys()) if (!known.has(id)) this.#memory.delete(id);
    const actions: PresenceAction[] = [];
    const next = new Map<string, NodeStatusRecord>();
    const due: string[] = [];
    for (const sight of input.nodes) {
      const status = this.#look(sight, input);
      if (!status) continue;
      next.set(sight.nodeId, status);
      if (status.status !== NodeStatus.NODE_STATUS_SUSPECT) continue;
      const memory = this.#of(sight.nodeId);
      if (nowMs >= lostFromMs(memory, timing)) due.push(sight.nodeId);
      if (nowMs - memory.probedAtMs >= timing.intervalMs) {
        memory.probedAtMs = nowMs;
        actions.push({ kind: 'probe', nodeId: sight.nodeId });
      }
    }
    this.#setBrake(next, due.length, nowMs);
    if (!this.#brake) {
      for (const nodeId of due) {
        this.#of(nodeId).lostAtMs = nowMs;
        const reason = this.#of(nodeId).refusedAtMs > never ? 'its agent is down' : 'no sign of life';
        next.set(nodeId, { nodeId, status: NodeStatus.NODE_STATUS_LOST, dispatchSynced: false, reason });
      }
    }
    for (const { nodeId, status: current } of input.nodes) {
      const status = next.get(nodeId);
      const same = status?.status === current?.status && status?.dispatchSynced === current?.dispatchSynced;
      if (status && !same) actions.push({ kind: 'set-status', status });
    }
    return { actions, held: this.#brake ? due : [] };
  }

  /** The status that a node has by its stream alone; undefined leaves it as it is. */
  #look(sight: NodeSight, { nowMs, timing }: PresenceInput): NodeStatusRecord | undefined {
    const { nodeId, presence } = sight;
    const current = sight.status?.status ?? NodeStatus.NODE_STATUS_UNSPECIFIED;
    if (current === NodeStatus.NODE_STATUS_LEFT) return undefined;
    const memory = this.#of(nodeId);
    if (presence?.state === PresenceState.PRESENCE_STATE_ALIVE) {
      memory.silentSinceMs = undefined;
      memory.seenAlive = true;
      memory.restarting = presence.restarting;
      memory.openAtMs = never;
      memory.refusedAtMs = never;
      memory.lostAtMs = never;
      const dispatchSynced = synced(memory, presence.dispatchSynced, sight.status?.dispatchSynced ?? false, {
        nowMs,
        leaseMs: timing.leaseMs,
      });
      return { nodeId, status: NodeStatus.NODE_STATUS_READY, dispatchSynced, reason: '' };
    }
    // Never heard of, or lost already: only a heartbeat changes that.
    if (current === NodeStatus.NODE_STATUS_UNSPECIFIED && !presence) return undefined;
    if (current === NodeStatus.NODE_STATUS_LOST) return sight.status;
    if (presence?.restarting) memory.restarting = true;
    memory.silentSinceMs ??= memory.seenAlive ? nowMs - (presence?.silentForMs ?? 0) : nowMs;
    const missed = nowMs - memory.silentSinceMs >= 2 * timing.intervalMs;
    if (!missed && current !== NodeStatus.NODE_STATUS_SUSPECT) return sight.status;
    const dispatchSynced = sight.status?.dispatchSynced ?? false;
    const reason = memory.restarting ? 'its agent said that it restarts' : 'two heartbeats missed';
    return { nodeId, status: NodeStatus.NODE_STATUS_SUSPECT, dispatchSynced, reason };
  }

  /** Looked at when the first would become lost; it stays until enough have returned. */
  #setBrake(next: ReadonlyMap<string, NodeStatusRecord>, due: number, nowMs: number): void {
    let ready = 0;
    let affected = 0;
    for (const [nodeId, { status }] of next) {
      if (status === NodeStatus.NODE_STATUS_READY) ready += 1;
      else if (status === NodeStatus.NODE_STATUS_SUSPECT) affected += 1;
      else if (nowMs - this.#of(nodeId).lostAtMs < outageMs) affected += 1;
    }
    const tooMany = affected > 1 && affected * 2 > ready + affected;
    this.#brake = tooMany && (this.#brake || due > 0);
  }

  #of(nodeId: string): Memory {
    let memory = this.#memory.get(nodeId);
    if (!memory) {
      memory = {
        silentSinceMs: undefined,
        seenAlive: false,
        restarting: false,
        openAtMs: never,
        refusedAtMs: never,
        probedAtMs: never,
        unsyncedSinceMs: undefined,
        lostAtMs: never,
      };
      this.#memory.set(nodeId, memory);
    }
    return memory;
  }
}

/** When a silent node is lost, as far as is known now. */
function lostFromMs(memory: Memory, { leaseMs }: PresenceTiming): number {
  const silentSinceMs = memory.silentSinceMs ?? Number.POSITIVE_INFINITY;
  const graceEndMs = silentSinceMs + agentDownGraceMs;
  return Math.max(
    silentSinceMs + leaseMs,
    memory.openAtMs + leaseMs,
    memory.restarting ? graceEndMs : never,
    // A refusal says that the host is up, for as long as it goes on refusing.
    Math.min(memory.refusedAtMs + leaseMs, graceEndMs),
  );
}

/** True at once; false only after a lease, for every reconnect begins without. */
function synced(
  memory: Memory,
  says: boolean,
  was: boolean,
  { nowMs, leaseMs }: { readonly nowMs: number; readonly leaseMs: number },
): boolean {
  if (says) {
    memory.unsyncedSinceMs = undefined;
    return true;
  }
  memory.unsyncedSinceMs ??= nowMs;
  return was && nowMs - memory.unsyncedSinceMs < leaseMs;
}
