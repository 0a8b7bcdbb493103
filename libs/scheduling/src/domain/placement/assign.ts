import type { Service, VolumePin } from '@berth/contracts/scheduler';
import { UpdateState } from '@berth/contracts/scheduler';
import type { PlacementFailure, Task } from '@berth/contracts/workload';
import { DesiredState } from '@berth/contracts/workload';
import { gateOf, heldFailure, openGate } from '../orchestration/depends-on.ts';
import { volumeNamesOf } from '../stack/derive.ts';
import { departingVolumes } from '../stack/volumes.ts';
import type { Records } from '../state/records.ts';
import { withTask } from '../state/usage.ts';
import type { SlotFailures } from './demand.ts';
import { demandOf, slotFailures } from './demand.ts';
import { place } from './place.ts';
import type { Candidate } from './types.ts';

/** What becomes of a pending task: a node, or the reason why none. */
export type Assignment =
  | {
      readonly kind: 'assign';
      readonly taskId: string;
      readonly nodeId: string;
      /** Named volumes that get their home by it. */
      readonly pins: readonly VolumePin[];
    }
  | { readonly kind: 'hold'; readonly taskId: string; readonly failure: PlacementFailure };

export interface AssignOptions {
  /** Tasks to leave alone. */
  readonly skip: (task: Task) => boolean;
  /** Tasks placed in one pass, so that a leader with much to do still lives up to its lease. */
  readonly placedMax: number;
}

/**
 * Places pending tasks, oldest first, each on what the ones before have left. Says nothing about a task whose reason to
 * wait is what its record shows already. `more`: the pass ended before its tasks did.
 */
export function assignPending(
  records: Records,
  candidates: () => readonly Candidate[],
  { placedMax, skip }: AssignOptions,
): { readonly assignments: readonly Assignment[]; readonly more: boolean } {
  const pending = records.pendingTasks();
  if (pending.length === 0) return { assignments: [], more: false };
  const round = new Round(records, candidates());
  const assignments: Assignment[] = [];
  for (const { value: task } of pending) {
    if (round.placed >= placedMax) return { assignments, more: true };
    if (task.desired !== DesiredState.DESIRED_STATE_RUNNING || skip(task)) continue;
    const assignment = round.decide(task);
    if (assignment) assignments.push(assignment);
  }
  return { assignments, more: false };
}

/** One pass over the pending tasks: what it has given away so far, and which kinds of tasks it could not place. */
class Round {
  /** Tasks that got a node. */
  placed = 0;
  readonly #records: Records;
  readonly #candidates: Candidate[];
  readonly #indexOf: ReadonlyMap<string, number>;
  readonly #departing: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #pins = new Map<string, string>();
  readonly #failures = new Map<string, PlacementFailure>();
  readonly #failuresOfSlots = new Map<string, SlotFailures>();

  constructor(records: Records, candidates: readonly Candidate[]) {
    this.#records = records;
    this.#candidates = [...candidates];
    this.#departing = departingVolumes(records);
    this.#indexOf = new Map(candidates.map(({ node }, index) => [node.id, index]));
  }

  decide(task: Task): Assignment | undefined {
    const service = this.#records.services.get(task.serviceId)?.value;
    const version = this.#records.versions.get(task.serviceId, String(task.specVersion))?.value;
    // Its service is on its way out, or has moved on: the orchestration deletes it.
    if (!service?.service || service.removing || !version || isSuperseded(task, service.service)) return undefined;
    // Tasks of one service fail alike, so the nodes are asked once.
    const kind = `${task.serviceId}/${task.specVersion}/${task.nodeId}`;
    const known = this.#failures.get(kind);
    if (known) return hold(task, known);
    // Only a version's first tasks are held back, not what goes on with an older one.
    const gate = task.specVersion === service.service.specVersion ? gateOf(this.#records, service) : openGate;
    const placement =
      gate.kind === 'held'
        ? ({ kind: 'failed', failure: heldFailure(gate, this.#candidates.length) } as const)
        : place(
            demandOf(
              task,
              version,
              this.#slotFailures(task),
              (name) => this.#homeOf(task.namespace, name),
              this.#departing,
            ),
            this.#candidates,
          );
    if (placement.kind === 'failed') {
      this.#failures.set(kind, placement.failure);
      return hold(task, placement.failure);
    }
    const names = task.slot > 0 ? volumeNamesOf(task, version.volumes) : [];
    return this.#give(task, placement.nodeId, names);
  }

  #give(task: Task, nodeId: string, volumes: readonly string[]): Assignment {
    const index = this.#indexOf.get(nodeId) ?? -1;
    const candidate = this.#candidates[index];
    if (candidate) this.#candidates[index] = { ...candidate, usage: withTask(candidate.usage, task) };
    this.placed += 1;
    const pins: VolumePin[] = [];
    for (const volume of volumes) {
      if (this.#homeOf(task.namespace, volume) !== undefined) continue;
      this.#pins.set(`${task.namespace}/${volume}`, nodeId);
      pins.push({ namespace: task.namespace, volume, nodeId, stack: task.stack, taskId: task.id });
    }
    return { kind: 'assign', taskId: task.id, nodeId, pins };
  }

  #slotFailures({ serviceId, specVersion }: Task): SlotFailures {
    const key = `${serviceId}/${specVersion}`;
    const known = this.#failuresOfSlots.get(key);
    if (known) return known;
    const failures = slotFailures(this.#records, serviceId, specVersion);
    this.#failuresOfSlots.set(key, failures);
    return failures;
  }

  #homeOf(namespace: string, volume: string): string | undefined {
    return this.#pins.get(`${namespace}/${volume}`) ?? this.#records.volumes.get(namespace, volume)?.value.nodeId;
  }
}

/** A newer version replaces it. Not while it only keeps a slot going at its version: on another node, or in a halted update. */
function isSuperseded(task: Task, { specVersion, update }: Service): boolean {
  return task.specVersion !== specVersion && task.replaces === '' && update !== UpdateState.UPDATE_STATE_HALTED;
}

function hold(task: Task, failure: PlacementFailure): Assignment | undefined {
  return sameReason(task.pending, failure) ? undefined : { kind: 'hold', taskId: task.id, failure };
}

/** The numbers in the details move with every task that comes and goes; they are no reason to write. */
function sameReason(a: PlacementFailure | undefined, b: PlacementFailure): boolean {
  return (
    a !== undefined &&
    a.summary === b.summary &&
    a.passing === b.passing &&
    a.filters.length === b.filters.length &&
    a.filters.every((result, index) => {
      const other = b.filters[index];
      return result.filter === other?.filter && result.nodes === other.nodes;
    })
  );
}
