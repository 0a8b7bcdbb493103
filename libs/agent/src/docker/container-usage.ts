import type { UsageReading } from '../service/runtime-ports.ts';

/** The engine's stats of a container, as far as they are read. What a container does not have (a stopped one, no limits) is absent. */
export interface EngineStats {
  readonly cpu_stats?: { readonly cpu_usage?: { readonly total_usage?: number } };
  readonly memory_stats?: {
    readonly usage?: number;
    readonly limit?: number;
    readonly stats?: { readonly total_inactive_file?: number; readonly inactive_file?: number };
  };
  readonly networks?: Readonly<Record<string, { readonly rx_bytes: number; readonly tx_bytes: number }>>;
  readonly blkio_stats?: {
    readonly io_service_bytes_recursive?: readonly { readonly op: string; readonly value: number }[] | null;
  };
  readonly pids_stats?: { readonly current?: number };
}

/** The engine's numbers as ours. cgroup v1 and v2 name the page cache differently. */
export function usageOf(stats: EngineStats): UsageReading {
  const memory = stats.memory_stats;
  const cache = memory?.stats?.total_inactive_file ?? memory?.stats?.inactive_file ?? 0;
  const networks = Object.values(stats.networks ?? {});
  const disk = (op: string): number =>
    sum(
      (stats.blkio_stats?.io_service_bytes_recursive ?? []).filter((e) => e.op.toLowerCase() === op),
      (e) => e.value,
    );
  return {
    cpuNs: stats.cpu_stats?.cpu_usage?.total_usage ?? 0,
    memoryBytes: Math.max(0, (memory?.usage ?? 0) - cache),
    memoryLimitBytes: memory?.limit ?? 0,
    networkReceivedBytes: sum(networks, (n) => n.rx_bytes),
    networkSentBytes: sum(networks, (n) => n.tx_bytes),
    diskReadBytes: disk('read'),
    diskWrittenBytes: disk('write'),
    processes: stats.pids_stats?.current ?? 0,
  };
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
