import { unmetConstraint } from '../constraints.ts';
import type { Filter } from '../types.ts';

/** Nodes that meet the service's placement constraints; for a global service's task, its own node. */
export const constraint: Filter = {
  name: 'constraint',
  lack: 'excluded by constraints',
  admits: (demand, { node }) =>
    (demand.onlyNode === undefined || demand.onlyNode === node.id) &&
    unmetConstraint(node, demand.constraints) === undefined,
  detail: (demand, refused) => {
    const counts = new Map<string, number>();
    for (const { node } of refused) {
      const unmet = unmetConstraint(node, demand.constraints) ?? `node.id == ${demand.onlyNode}`;
      counts.set(unmet, (counts.get(unmet) ?? 0) + 1);
    }
    return [...counts].map(([text, nodes]) => `${text}: not met by ${nodes}`).join('; ');
  },
};
