import type { Assignment, SessionRequest, SessionResponse } from '@berth/contracts/scheduler';
import { Assignment as AssignmentMessage } from '@berth/contracts/scheduler';
import type { Revision } from '@berth/kernel';
import { assignedTasks, assignmentOf } from '../../domain/dispatch/assignment.ts';
import { AssignmentLog } from '../../domain/dispatch/assignment-log.ts';
import type { Mirrors } from '../mirrors.ts';

/** Bytes of assignments in one message; a larger step is sent in parts. */
const messageBytesMax = 1024 * 1024;

/** Serves nodes their assignments from the mirror. A change wakes only the sessions of the node it concerns. */
export class Sessions {
  readonly #mirrors: Mirrors;
  readonly #drainDelayMs: number;
  readonly #log = new AssignmentLog();
  readonly #wakers = new Map<string, Set<() => void>>();

  constructor(mirrors: Mirrors, drainDelayMs: number) {
    this.#mirrors = mirrors;
    this.#drainDelayMs = drainDelayMs;
    mirrors.feed.onStep((step) => {
      const { touched } = mirrors.view;
      if (!touched) {
        this.#log.reset(step.revision.revision);
        for (const nodeId of this.#wakers.keys()) this.#wake(nodeId);
        return;
      }
      for (const [nodeId, tasks] of touched.assignments) {
        for (const taskId of tasks) this.#log.push(nodeId, step.revision.revision, taskId);
        this.#wake(nodeId);
      }
    });
  }

  /** The full set, or what changed after `since`; then each change, until the signal aborts. Never older than `since`. */
  async *follow(
    nodeId: string,
    { since, full }: Pick<SessionRequest, 'since' | 'full'>,
    signal: AbortSignal,
  ): AsyncGenerator<SessionResponse> {
    let at = since;
    for (let first = true; !signal.aborted; first = false) {
      const mine = await this.#mirrors.feed.waitFor(at, signal);
      const resumes = at?.epoch === mine.epoch && !(first && full);
      const changed = at && resumes ? this.#log.since(nodeId, at.revision) : undefined;
      if (changed === undefined) yield* this.#fullSet(nodeId, mine);
      else if (changed.size > 0 || first) yield* this.#changes(nodeId, mine, changed);
      at = mine;
      await this.#change(nodeId, mine, signal);
    }
  }

  #fullSet(nodeId: string, revision: Revision): Generator<SessionResponse> {
    const { records } = this.#mirrors;
    const assignments = assignedTasks(records, nodeId).map((task) => assignmentOf(records, task, this.#drainDelayMs));
    return inParts({ revision, full: true, more: false, assignments, removedTaskIds: [] });
  }

  #changes(nodeId: string, revision: Revision, changed: ReadonlySet<string>): Generator<SessionResponse> {
    const { records } = this.#mirrors;
    const assigned = assignedTasks(records, nodeId).filter(({ id }) => changed.has(id));
    const here = new Set(assigned.map(({ id }) => id));
    return inParts({
      revision,
      full: false,
      more: false,
      assignments: assigned.map((task) => assignmentOf(records, task, this.#drainDelayMs)),
      removedTaskIds: [...changed].filter((id) => !here.has(id)).sort(),
    });
  }

  /** Waits for the next change of a node, unless one came while the last was sent. */
  async #change(nodeId: string, after: Revision, signal: AbortSignal): Promise<void> {
    const missed = this.#log.since(nodeId, after.revision);
    if (missed === undefined || missed.size > 0 || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wakers = this.#wakers.get(nodeId) ?? new Set();
      this.#wakers.set(nodeId, wakers);
      const done = (): void => {
        wakers.delete(done);
        if (wakers.size === 0 && this.#wakers.get(nodeId) === wakers) this.#wakers.delete(nodeId);
        signal.removeEventListener('abort', done);
        resolve();
      };
      wakers.add(done);
      signal.addEventListener('abort', done);
    });
  }

  #wake(nodeId: string): void {
    for (const wake of [...(this.#wakers.get(nodeId) ?? [])]) wake();
  }
}

function* inParts(step: SessionResponse): Generator<SessionResponse> {
  let part: Assignment[] = [];
  let bytes = 0;
  for (const assignment of step.assignments) {
    const size = AssignmentMessage.encode(assignment).finish().length;
    if (part.length > 0 && bytes + size > messageBytesMax) {
      // Only the last part says what is gone: a step counts once it is whole.
      yield { ...step, more: true, assignments: part, removedTaskIds: [] };
      part = [];
      bytes = 0;
    }
    part.push(assignment);
    bytes += size;
  }
  yield { ...step, assignments: part };
}
