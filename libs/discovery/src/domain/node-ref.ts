import type { Node } from '@berth/contracts/registry';
import { NodeStatus } from '@berth/contracts/registry';
import { BerthError } from '@berth/kernel';

/** Shorter beginnings of ids are not taken: too easily somebody else's. */
const beginningMin = 4;

/**
 * The node that an operator means: by its whole id, by host name, or by the beginning (4 characters or more) of its id.
 * Nodes that have left answer to their whole id alone. Throws NotFound (NODE_NOT_FOUND) or InvalidArgument
 * (NODE_AMBIGUOUS).
 */
export function nodeByRef(nodes: readonly Node[], ref: string): Node {
  const exact = nodes.find(({ id }) => id === ref);
  if (exact) return exact;
  const present = nodes.filter(({ status }) => status !== NodeStatus.NODE_STATUS_LEFT);
  const named = present.filter(({ hostname }) => hostname === ref);
  const found = named.length > 0 ? named : present.filter(({ id }) => ref.length >= beginningMin && id.startsWith(ref));
  const [only] = found;
  if (only && found.length === 1) return only;
  const what = JSON.stringify(ref.slice(0, 80));
  if (only) {
    const which = found.map(({ id, hostname }) => `${id} (${hostname})`).join(', ');
    throw new BerthError('InvalidArgument', `${what} may be any of these nodes: ${which}; give the id`, {
      reason: 'NODE_AMBIGUOUS',
    });
  }
  throw new BerthError('NotFound', `there is no node ${what}: \`berth node ls\` lists them`, {
    reason: 'NODE_NOT_FOUND',
  });
}
