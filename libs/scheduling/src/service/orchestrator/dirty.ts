/** What the leader has yet to look at, and when it must look at something again by itself. */
export class Dirty {
  #stacks = new Set<string>();
  #services = new Set<string>();
  #pending = false;
  readonly #wakes = new Map<string, number>();

  get any(): boolean {
    return this.#pending || this.#stacks.size > 0 || this.#services.size > 0;
  }

  stack(id: string): void {
    this.#stacks.add(id);
  }

  service(id: string): void {
    this.#services.add(id);
  }

  /** Something changed that may let a pending task go: every round looks at those. */
  placement(): void {
    this.#pending = true;
  }

  /** Takes what is due. */
  take(): { readonly stacks: ReadonlySet<string>; readonly services: ReadonlySet<string> } {
    const taken = { stacks: this.#stacks, services: this.#services };
    this.#stacks = new Set();
    this.#services = new Set();
    this.#pending = false;
    for (const id of taken.services) this.#wakes.delete(id);
    return taken;
  }

  /** Looks at a service again at a time. */
  wakeAt(serviceId: string, atMs: number): void {
    this.#wakes.set(serviceId, atMs);
  }

  /** Moves what is due into the dirty set. */
  due(nowMs: number): void {
    for (const [id, atMs] of this.#wakes) {
      if (atMs > nowMs) continue;
      this.#wakes.delete(id);
      this.#services.add(id);
    }
  }

  /** When the next service is due; undefined if none is. */
  nextWakeMs(): number | undefined {
    let next: number | undefined;
    for (const atMs of this.#wakes.values()) if (next === undefined || atMs < next) next = atMs;
    return next;
  }
}
