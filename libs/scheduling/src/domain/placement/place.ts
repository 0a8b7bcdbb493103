import type { FilterResult, PlacementFailure } from '@berth/contracts/workload';
import { filters } from './filters/index.ts';
import { mayPass, nodeReady } from './filters/node-ready.ts';
import { volumeHomes } from './filters/volume.ts';
import { compareCandidates } from './score.ts';
import type { Candidate, Demand, Filter } from './types.ts';

export type Placement =
  | { readonly kind: 'placed'; readonly nodeId: string }
  | { readonly kind: 'failed'; readonly failure: PlacementFailure };

/** Chooses a node for a task, or says what every filter left out. Pure and deterministic. */
export function place(demand: Demand, candidates: readonly Candidate[]): Placement {
  let best: Candidate | undefined;
  const refused = new Map<Filter, Candidate[]>();
  for (const candidate of candidates) {
    const filter = filters.find((each) => !each.admits(demand, candidate));
    if (filter) {
      const list = refused.get(filter);
      if (list) list.push(candidate);
      else refused.set(filter, [candidate]);
    } else if (!best || compareCandidates(demand, candidate, best) < 0) best = candidate;
  }
  if (best) return { kind: 'placed', nodeId: best.node.id };
  return { kind: 'failed', failure: explain(demand, refused, candidates) };
}

/** Every filter's count for a demand, whether or not a node is left. */
export function explainPlacement(demand: Demand, candidates: readonly Candidate[]): PlacementFailure {
  const refused = new Map<Filter, Candidate[]>();
  for (const candidate of candidates) {
    const filter = filters.find((each) => !each.admits(demand, candidate));
    if (filter) refused.set(filter, [...(refused.get(filter) ?? []), candidate]);
  }
  return explain(demand, refused, candidates);
}

function explain(
  demand: Demand,
  refused: ReadonlyMap<Filter, Candidate[]>,
  candidates: readonly Candidate[],
): PlacementFailure {
  const nodes = candidates.length;
  const sorted = [...refused].sort(([, a], [, b]) => b.length - a.length);
  const results: FilterResult[] = sorted.map(([filter, list]) => ({
    filter: filter.name,
    nodes: list.length,
    detail: filter.detail(demand, list, candidates),
  }));
  const left = nodes - results.reduce((sum, result) => sum + result.nodes, 0);
  const passing = (refused.get(nodeReady) ?? []).some(
    (candidate) => mayPass(candidate) && filters.every((each) => each === nodeReady || each.admits(demand, candidate)),
  );
  const failure = { filters: results, nodes, passing: left === 0 && passing };
  if (nodes === 0) return { summary: 'there is no node', ...failure };
  if (left > 0) return { summary: `${left} of ${plural(nodes)} would take it`, ...failure };
  const counts = sorted.map(([filter, list]) => `${list.length} ${filter.lack}`).join(', ');
  // Whatever else the other nodes lack: it can run nowhere but there.
  if (demand.volumeNodes.size > 0) return { summary: `${volumeHomes(demand, candidates)}; ${counts}`, ...failure };
  return { summary: `none of ${plural(nodes)} can take it: ${counts}`, ...failure };
}

function plural(nodes: number): string {
  return nodes === 1 ? '1 node' : `${nodes} nodes`;
}
