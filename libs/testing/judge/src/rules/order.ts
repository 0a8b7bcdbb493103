import type { Violation } from '../observation.ts';

/** A start or an end of a container on one host, by its engine's clock. */
export interface EngineEvent {
  readonly action: 'start' | 'die';
  readonly container: string;
  readonly task: string;
  /** Nanoseconds since 1970. */
  readonly at: bigint;
}

export interface OrderInput {
  readonly host: string;
  /** Tasks whose containers ran when the host came back. */
  readonly before: readonly string[];
  /** Tasks whose containers run now. */
  readonly after: readonly string[];
  /** Since the host came back. */
  readonly events: readonly EngineEvent[];
}

/**
 * A host that comes back stops what is no longer its own before it starts anything new. No longer its own is what ran
 * when it came back and does not run at the end; new is a task that did not run there before.
 */
export function judgeOrder({ host, before, after, events }: OrderInput): Violation[] {
  const foreign = before.filter((task) => !after.includes(task));
  const starts = events.filter(({ action, task }) => action === 'start' && !before.includes(task));
  const first = starts.reduce<EngineEvent | undefined>((a, b) => (a && a.at <= b.at ? a : b), undefined);
  return foreign.flatMap((task): Violation[] => {
    const ends = events.filter((event) => event.action === 'die' && event.task === task);
    const violation = (what: string): Violation[] => [{ rule: 'order', where: host, what }];
    const last = ends.reduce<EngineEvent | undefined>((a, b) => (a && a.at >= b.at ? a : b), undefined);
    if (!last) return violation(`task ${task} ran when the host came back and is gone, yet its end was not seen`);
    if (!first || last.at <= first.at) return [];
    const lateMs = Number(last.at - first.at) / 1e6;
    return violation(`task ${task} ended ${lateMs.toFixed(0)} ms after the new task ${first.task} had started`);
  });
}
