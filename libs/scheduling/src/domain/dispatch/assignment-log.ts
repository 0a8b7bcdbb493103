interface NodeLog {
  /** All changes after this revision are held. */
  after: number;
  readonly entries: { readonly revision: number; readonly taskId: string }[];
}

/** Which tasks changed on which node at which revision, bounded: what lets a session go on where it broke off. */
export class AssignmentLog {
  readonly #entriesPerNodeMax: number;
  readonly #nodes = new Map<string, NodeLog>();
  #start = 0;

  constructor(entriesPerNodeMax = 1_000) {
    this.#entriesPerNodeMax = entriesPerNodeMax;
  }

  /** Forgets everything: what came before this revision is not known. */
  reset(revision: number): void {
    this.#nodes.clear();
    this.#start = revision;
  }

  push(nodeId: string, revision: number, taskId: string): void {
    let log = this.#nodes.get(nodeId);
    if (!log) {
      log = { after: this.#start, entries: [] };
      this.#nodes.set(nodeId, log);
    }
    log.entries.push({ revision, taskId });
    if (log.entries.length > this.#entriesPerNodeMax) log.after = log.entries.shift()?.revision ?? log.after;
  }

  /** Tasks of a node that changed after a revision; undefined where that is no longer known. */
  since(nodeId: string, revision: number): Set<string> | undefined {
    const log = this.#nodes.get(nodeId);
    if (revision < (log?.after ?? this.#start)) return undefined;
    const changed = new Set<string>();
    for (const entry of log?.entries ?? []) if (entry.revision > revision) changed.add(entry.taskId);
    return changed;
  }
}
