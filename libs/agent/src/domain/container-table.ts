import type { ContainerState } from '@berth/kernel';
import { taskOf } from './labels.ts';

interface Row {
  readonly id: string;
  /** Absent: the container is gone. */
  readonly state: ContainerState | undefined;
  readonly ticket: number;
}

/**
 * What was last seen of each container. Looks overlap (a list takes a while, an event is looked into meanwhile), so each
 * look takes a ticket when it begins, and an older look never overwrites a newer one.
 */
export class ContainerTable {
  readonly #rows = new Map<string, Row>();
  #tickets = 0;

  /** Before a look at the engine begins. */
  ticket(): number {
    this.#tickets += 1;
    return this.#tickets;
  }

  /** One container as it was seen, or undefined if it was gone. */
  see(ticket: number, id: string, state: ContainerState | undefined): void {
    if ((this.#rows.get(id)?.ticket ?? 0) < ticket) this.#rows.set(id, { id, state, ticket });
  }

  /** All containers there were. */
  seeAll(ticket: number, states: readonly ContainerState[]): void {
    for (const state of states) this.see(ticket, state.id, state);
    const listed = new Set(states.map((state) => state.id));
    for (const row of [...this.#rows.values()]) {
      if (row.ticket < ticket && !listed.has(row.id)) this.#rows.delete(row.id);
    }
  }

  /** Containers by task. */
  byTask(): ReadonlyMap<string, readonly ContainerState[]> {
    const tasks = new Map<string, ContainerState[]>();
    for (const { state } of this.#rows.values()) {
      const taskId = state && taskOf(state)?.taskId;
      if (state === undefined || taskId === undefined) continue;
      const list = tasks.get(taskId);
      if (list) list.push(state);
      else tasks.set(taskId, [state]);
    }
    return tasks;
  }
}
