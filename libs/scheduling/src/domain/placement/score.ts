import type { Candidate, Demand } from './types.ts';

/**
 * Orders admitted nodes, best first: where this slot has failed least, then fewest tasks of the service (spread), then
 * least loaded, then by id, so that the same state always gives the same choice.
 */
export function compareCandidates(demand: Demand, a: Candidate, b: Candidate): number {
  return (
    failures(demand, a) - failures(demand, b) ||
    ofService(demand, a) - ofService(demand, b) ||
    load(a) - load(b) ||
    a.usage.tasks - b.usage.tasks ||
    (a.node.id < b.node.id ? -1 : 1)
  );
}

/** The scarcer of cpu and memory, as the share that is promised. */
export function load({ node, usage }: Candidate): number {
  return Math.max(
    share(usage.cpuMillis, node.resources?.cpuMillis ?? 0),
    share(usage.memoryBytes, node.resources?.memoryBytes ?? 0),
  );
}

function failures(demand: Demand, { node }: Candidate): number {
  return demand.failuresOn?.get(node.id) ?? 0;
}

function ofService(demand: Demand, { usage }: Candidate): number {
  return usage.tasksOfService.get(demand.serviceId) ?? 0;
}

function share(used: number, total: number): number {
  return total > 0 ? used / total : 1;
}
