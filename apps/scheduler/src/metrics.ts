import type { Registry } from '@berth/process';
import { Counter, Gauge, Histogram } from '@berth/process';
import type { SchedulerObserver } from '@berth/scheduling';

/** The scheduler's own metrics. */
export function schedulerMetrics(registry: Registry): SchedulerObserver {
  const registers = [registry];
  const leading = new Gauge({ name: 'berth_scheduler_leading', help: '1 while this replica leads.', registers });
  const rounds = new Histogram({
    name: 'berth_scheduler_round_seconds',
    help: "Time of one of the leader's decisions.",
    buckets: [0.0005, 0.002, 0.01, 0.05, 0.2, 1],
    registers,
  });
  const groups = new Counter({ name: 'berth_scheduler_writes_total', help: 'Decisions written.', registers });
  const conflicts = new Counter({
    name: 'berth_scheduler_conflicts_total',
    help: 'Plans dropped because what they were decided on had changed.',
    registers,
  });
  const sessions = new Gauge({
    name: 'berth_scheduler_sessions',
    help: 'Dispatch sessions of nodes that this replica holds.',
    registers,
  });
  return {
    leading: (leads) => leading.set(Number(leads)),
    decided: (round) => {
      rounds.observe(round.ms / 1_000);
      groups.inc(round.groups);
    },
    conflict: () => conflicts.inc(),
    session: (change) => sessions.inc(change),
  };
}
