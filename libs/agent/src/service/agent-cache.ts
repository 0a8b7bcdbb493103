import type { Assignment } from '@berth/contracts/scheduler';
import { Assignment as Assignments } from '@berth/contracts/scheduler';
import type { Disk, Logger, Revision } from '@berth/kernel';
import { seal, unseal } from '../domain/sealed.ts';
import type { TaskRecord } from '../domain/task-record.ts';

const fileName = 'cache/tasks';

export interface CachedTasks {
  readonly records: ReadonlyMap<string, TaskRecord>;
  readonly assignments: readonly Assignment[];
  /** Revision of the dispatch step that the assignments are of. */
  readonly revision?: Revision | undefined;
}

interface CacheFile {
  readonly version: 1;
  readonly records: Record<string, TaskRecord>;
  readonly assignments: readonly unknown[];
  readonly revision?: Revision | undefined;
}

/** What the agent last agreed to, on its own disk: with it the node goes on without a control plane. Holds environments, so
 *  0600. A damaged file is as good as none: labels and the scheduler know the rest. */
export class AgentCache {
  readonly #disk: Disk;
  readonly #log: Logger;

  constructor(disk: Disk, log: Logger) {
    this.#disk = disk;
    this.#log = log;
  }

  async load(): Promise<CachedTasks> {
    const nothing: CachedTasks = { records: new Map(), assignments: [] };
    const file = await this.#disk.read(fileName);
    if (file === undefined) return nothing;
    const payload = unseal(file);
    if (payload === undefined) {
      this.#log.warn({ file: fileName }, 'the cache of tasks is damaged; the scheduler will tell again');
      return nothing;
    }
    const content = JSON.parse(new TextDecoder().decode(payload)) as CacheFile;
    if (content.version !== 1) return nothing;
    return {
      records: new Map(Object.entries(content.records)),
      assignments: content.assignments.map((a) => Assignments.fromJSON(a)),
      revision: content.revision,
    };
  }

  async save(tasks: CachedTasks): Promise<void> {
    const content: CacheFile = {
      version: 1,
      records: Object.fromEntries(tasks.records),
      assignments: tasks.assignments.map((a) => Assignments.toJSON(a)),
      revision: tasks.revision,
    };
    await this.#disk.write(fileName, seal(new TextEncoder().encode(JSON.stringify(content))));
  }
}
