import type { TaskStatus } from '@berth/contracts/workload';

/** What orders the statuses of one task. */
export type StatusOrder = Pick<TaskStatus, 'run' | 'seq'>;

/** Negative, zero or positive as `a` is older than, the same as or newer than `b`: by run, then by report within the run. */
export function compareStatus(a: StatusOrder, b: StatusOrder): number {
  return a.run - b.run || a.seq - b.seq;
}

/** Does `next` win over what was accepted? An older or equal (run, seq) never does. */
export function supersedes(next: StatusOrder, accepted: StatusOrder | undefined): boolean {
  return accepted === undefined || compareStatus(next, accepted) > 0;
}
