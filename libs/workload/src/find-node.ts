import type { Node } from '@berth/contracts/registry';
import { BerthError } from '@berth/kernel';

/** Shortest beginning of an id that is looked for. */
const prefixMin = 3;

/**
 * The node that a person means: by id, host name, or unique beginning of an id (at least 3 characters). NotFound with reason
 * NO_SUCH_NODE, or Unavailable with reason NOT_SYNCED where absence proves nothing, for `complete` is false; InvalidArgument
 * with reason AMBIGUOUS, also where two nodes have one host name.
 */
export function findNode<N extends Pick<Node, 'id' | 'hostname'>>(
  nodes: readonly N[],
  text: string,
  complete: boolean,
): N {
  const exact = nodes.find(({ id }) => id === text);
  if (exact) return exact;
  const named = nodes.filter(({ hostname }) => text !== '' && hostname === text);
  const found = named.length > 0 ? named : nodes.filter(({ id }) => text.length >= prefixMin && id.startsWith(text));
  const [first, second] = found;
  if (first && !second) return first;
  if (!first && !complete) {
    throw new BerthError('Unavailable', 'the registry has yet to say which nodes there are', { reason: 'NOT_SYNCED' });
  }
  if (!first) {
    const names = nodes.map(({ hostname }) => hostname).sort();
    const known = names.length === 0 ? 'there is none' : `there are ${names.slice(0, 10).join(', ')}`;
    throw new BerthError('NotFound', `there is no node ${JSON.stringify(text)}; ${known}`, { reason: 'NO_SUCH_NODE' });
  }
  const those = found.slice(0, 5).map(({ hostname, id }) => `${hostname} (${id})`);
  throw new BerthError('InvalidArgument', `${JSON.stringify(text)} may mean ${those.join(', ')}; give the whole id`, {
    reason: 'AMBIGUOUS',
  });
}
