/** How far an agent is: nothing, control plane or join under way, a node, a node that its control plane knows; or removed
 *  from its cluster and about to take everything off the host. */
export type AgentPhase = 'new' | 'starting' | 'joined' | 'ready' | 'leaving';

/** The agent's phase and what it is busy with, for those who wait. */
export class PhaseBoard {
  #phase: AgentPhase = 'new';
  #note = '';
  readonly #listeners = new Set<() => void>();

  get phase(): AgentPhase {
    return this.#phase;
  }

  /** What is being waited for; empty if nothing. */
  get note(): string {
    return this.#note;
  }

  set(phase: AgentPhase, note = ''): void {
    this.#phase = phase;
    this.#note = note;
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
