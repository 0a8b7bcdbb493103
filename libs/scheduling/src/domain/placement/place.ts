import type { FilterResult, PlacementFailure } from '@berth/contracts/workload';
import { filters } from './filters/index.ts';
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
  return { kind: 'failed', failure: explain(demand, refused, candidates.length) };
}

/** Every filter's count for a demand, whether or not a node is left. */
export function explainPlacement(demand: Demand, candidates: readonly Candidate[]): PlacementFailure {
  const refused = new Map<Filter, Candidate[]>();
  for (const candidate of candidates) {
    const filter = filters.find((each) => !each.admits(demand, candidate));
    if (filter) refused.set(filter, [...(refused.get(filter) ?? []), candidate]);
  }
  return explain(demand, refused, candidates.length);
}

function explain(demand: Demand, refused: ReadonlyMap<Filter, Candidate[]>, nodes: number): PlacementFailure {
  const sorted = [...refused].sort(([, a], [, b]) => b.length - a.length);
  const results: FilterResult[] = sorted.map(([filter, list]) => ({
    filter: filter.name,
    nodes: list.length,
    detail: filter.detail(demand, list),
  }));
  const left = nodes - results.reduce((sum, result) => sum + result.nodes, 0);
  if (nodes === 0) return { summary: 'there is no node', filters: results, nodes };
  if (left > 0) return { summary: `${left} of ${plural(nodes)} would take it`, filters: results, nodes };
  const parts = sorted.map(([filter, list]) => `${list.length} ${filter.lack}`);
  return { summary: `none of ${plural(nodes)} can take it: ${parts.join(', ')}`, filters: results, nodes };
}

function plural(nodes: number): string {
  return nodes === 1 ? '1 node' : `${nodes} nodes`;
}
