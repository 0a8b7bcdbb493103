import type { BrakeRecord, NodeStatusRecord, Presence } from '@berth/contracts/registry';
import { NodeStatus, PresenceState } from '@berth/contracts/registry';
import { chooseProbers } from './probers.ts';
import type { PresenceTiming } from './timing.ts';

/** A host that is up gets this long for its agent to come back: a refused connection or a word of restarting says so. */
const agentDownGraceMs = 60_000;
/** Nodes lost within this time count as part of one outage when the brake is looked at. */
const outageMs = 60_000;

/** What the leader sees of one node. */
export interface NodeSight {
  readonly nodeId: string;
  /** The leader itself runs on a manager's host. */
  readonly manager: boolean;
  /** The status record; absent before the first. */
  readonly status: NodeStatusRecord | undefined;
  /** What the replica that holds its stream says; absent if that replica died or there never was a stream. */
  readonly presence: Presence | undefined;
}

export interface PresenceInput {
  /** Of a clock that never jumps. */
  readonly nowMs: number;
  readonly timing: PresenceTiming;
  /** Nodes that have not left. */
  readonly nodes: readonly NodeSight[];
  /** The brake as it is stored: it outlives the leader that put it on. */
  readonly brake: BrakeRecord | undefined;
}

export type ProbeAnswer =
  /** The agent answered. */
  | 'open'
  /** Its host did, but not the agent: host up, agent down. */
  | 'refused';

export type PresenceAction =
  | { readonly kind: 'set-status'; readonly status: NodeStatusRecord }
  /** The leader probes the node, and asks `helpers` to. */
  | { readonly kind: 'probe'; readonly nodeId: string; readonly helpers: readonly string[] }
  /** The brake is on and holds these nodes; the lost ones are part of the outage. */
  | { readonly kind: 'brake'; readonly nodeIds: readonly string[]; readonly lostNodeIds: readonly string[] }
  /** The brake is off, and nothing is left to say of it. */
  | { readonly kind: 'brake-off' };

export interface PresenceDecision {
  readonly actions: readonly PresenceAction[];
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
  probes: number;
  /** Since when its agent has had no full set from dispatch. */
  unsyncedSinceMs: number | undefined;
  lostAtMs: number;
}

const never = Number.NEGATIVE_INFINITY;

/**
 * Moves node statuses by what the replicas say of the streams and what probes answer. Two heartbeats missed: suspect, and
 * probes start. Lost: the lease is over and no probe has been answered for a lease; a host that is up with its agent down
 * gets 60 s. Where more than half of the ready nodes, and more than one, are suspect or lost when the first would become
 * lost, the brake is on: none becomes lost until enough have returned, and the others then have a whole lease again; or an
 * operator says so.
 */
export class PresenceDetector {
  #memory = new Map<string, Memory>();

  /** All counts start anew: for a new leader, and for one whose own timers were late. */
  restart(): void {
    this.#memory = new Map();
  }

  /** A probe of a node was answered. */
  answered(nodeId: string, answer: ProbeAnswer, nowMs: number): void {
    const memory = this.#of(nodeId);
    if (answer === 'open') memory.openAtMs = nowMs;
    else memory.refusedAtMs = nowMs;
  }

  decide(input: PresenceInput): PresenceDecision {
    const known = new Set(input.nodes.map(({ nodeId }) => nodeId));
    for (const id of this.#memory.keys()) if (!known.has(id)) this.#memory.delete(id);
    const next = new Map<string, NodeStatusRecord>();
    for (const sight of input.nodes) {
      const status = this.#look(sight, input);
      if (status) next.set(sight.nodeId, status);
    }
    const probes = this.#probe(next, input);
    const brake = this.#brake(next, input);
    const statuses = input.nodes.flatMap(({ nodeId, status: current }): PresenceAction[] => {
      const status = next.get(nodeId);
      return status && !sameStatus(status, current) ? [{ kind: 'set-status', status }] : [];
    });
    return { actions: [...brake, ...statuses, ...probes] };
  }

  /** Every silent node is probed once in an interval, each time by others. */
  #probe(next: ReadonlyMap<string, NodeStatusRecord>, { nowMs, timing, nodes }: PresenceInput): PresenceAction[] {
    const actions: PresenceAction[] = [];
    const ready = nodes.filter(({ nodeId }) => next.get(nodeId)?.status === NodeStatus.NODE_STATUS_READY);
    for (const [nodeId, { status }] of next) {
      const memory = this.#of(nodeId);
      if (status !== NodeStatus.NODE_STATUS_SUSPECT || nowMs - memory.probedAtMs < timing.intervalMs) continue;
      memory.probedAtMs = nowMs;
      actions.push({ kind: 'probe', nodeId, helpers: chooseProbers(nodeId, ready, memory.probes) });
      memory.probes += 1;
    }
    return actions;
  }

  /** Turns those whose time is up into lost ones, unless that would be too many at once. */
  #brake(next: Map<string, NodeStatusRecord>, { nowMs, timing, brake }: PresenceInput): PresenceAction[] {
    const silent = [...next.keys()].filter((id) => next.get(id)?.status === NodeStatus.NODE_STATUS_SUSPECT).sort();
    const due = silent.filter((id) => nowMs >= lostFromMs(this.#of(id), timing));
    const released = new Set(brake?.resumed ? brake.brake?.nodeIds : []);
    const wasOn = brake !== undefined && !brake.resumed;
    // Once it is on, time and another leader change nothing: whoever was counted counts until back.
    const lostNodeIds = wasOn ? brake.lostNodeIds : this.#justLost(next, nowMs);
    const lost = lostNodeIds.filter((id) => !released.has(id));
    const on = tooMany(next, released, lost) && (wasOn || due.some((id) => !released.has(id)));
    if (on) {
      const same = wasOn && sameList(silent, brake.brake?.nodeIds ?? []);
      return same ? [] : [{ kind: 'brake', nodeIds: silent, lostNodeIds }];
    }
    if (wasOn) {
      // They return one after the other: whoever is not back yet is not lost for that.
      for (const id of silent) this.#of(id).silentSinceMs = nowMs;
      return [{ kind: 'brake-off' }];
    }
    for (const nodeId of due) {
      const memory = this.#of(nodeId);
      memory.lostAtMs = released.has(nodeId) ? never : nowMs;
      const reason = memory.refusedAtMs > never ? 'its agent is down' : 'no sign of life';
      next.set(nodeId, { nodeId, status: NodeStatus.NODE_STATUS_LOST, dispatchSynced: false, reason });
    }
    const over = brake !== undefined && silent.every((id) => !released.has(id) || due.includes(id));
    return over ? [{ kind: 'brake-off' }] : [];
  }

  #justLost(next: ReadonlyMap<string, NodeStatusRecord>, nowMs: number): string[] {
    const lost = [...next].filter(([, { status }]) => status === NodeStatus.NODE_STATUS_LOST).map(([id]) => id);
    return lost.filter((id) => nowMs - this.#of(id).lostAtMs < outageMs).sort();
  }

  /** The status that a node has by its stream alone; undefined leaves it as it is. */
  #look(sight: NodeSight, input: PresenceInput): NodeStatusRecord | undefined {
    const { nowMs, timing } = input;
    const { nodeId, presence } = sight;
    const current = sight.status?.status ?? NodeStatus.NODE_STATUS_UNSPECIFIED;
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
    const reason = suspectReason(memory, input);
    return { nodeId, status: NodeStatus.NODE_STATUS_SUSPECT, dispatchSynced, reason };
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
        probes: 0,
        unsyncedSinceMs: undefined,
        lostAtMs: never,
      };
      this.#memory.set(nodeId, memory);
    }
    return memory;
  }
}

/** More than half of what was ready, and more than one; whom an operator has given up counts no more. */
function tooMany(
  next: ReadonlyMap<string, NodeStatusRecord>,
  released: ReadonlySet<string>,
  lost: readonly string[],
): boolean {
  let ready = 0;
  let affected = lost.filter((id) => next.get(id)?.status === NodeStatus.NODE_STATUS_LOST).length;
  for (const [nodeId, { status }] of next) {
    if (status === NodeStatus.NODE_STATUS_READY) ready += 1;
    else if (status === NodeStatus.NODE_STATUS_SUSPECT && !released.has(nodeId)) affected += 1;
  }
  return affected > 1 && affected * 2 > ready + affected;
}

function suspectReason(memory: Memory, { nowMs, timing }: PresenceInput): string {
  if (memory.restarting) return 'its agent said that it restarts';
  if (nowMs - memory.openAtMs < timing.leaseMs) return 'its agent answers, but its heartbeats do not arrive';
  if (nowMs - memory.refusedAtMs < timing.leaseMs) return 'its host answers, but its agent does not';
  return 'two heartbeats missed';
}

function sameStatus(a: NodeStatusRecord, b: NodeStatusRecord | undefined): boolean {
  return a.status === b?.status && a.dispatchSynced === b.dispatchSynced && a.reason === b.reason;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
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
