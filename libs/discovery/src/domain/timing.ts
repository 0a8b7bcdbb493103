/** How fast a cluster's agents say that they live. */
export interface PresenceTiming {
  /** Between two heartbeats of a node. */
  readonly intervalMs: number;
  /** Without a heartbeat for so long, the node's lease is over. */
  readonly leaseMs: number;
}

const intervalMinMs = 500;
const heartbeatsPerSecondMax = 200;
const heartbeatsPerLease = 6;

/** 500 ms and 3 s; both grow with the cluster so that it sends at most 200 heartbeats a second in all. */
export function presenceTiming(nodeCount: number): PresenceTiming {
  const spread = Math.ceil((nodeCount * 1_000) / heartbeatsPerSecondMax / 100) * 100;
  const intervalMs = Math.max(intervalMinMs, spread);
  return { intervalMs, leaseMs: intervalMs * heartbeatsPerLease };
}
