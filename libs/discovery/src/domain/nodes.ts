import type { Node, NodeRecord } from '@berth/contracts/registry';
import { Node as NodeCodec, NodeStatus } from '@berth/contracts/registry';
import { BerthError } from '@berth/kernel';
import { isIpAddress } from '@berth/workload';
import { checkedLabels } from './labels.ts';

const versionLengthMax = 64;
const hostnamePattern = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,252})$/u;

/**
 * A node's record as it joins. Only the first manager of a cluster is one by its own word: its agent made the CA. Later ones
 * become managers by promotion.
 */
export function joiningNode(input: {
  readonly nodeId: string;
  readonly description: Node;
  readonly publicKeySha256: string;
  /** No node is a manager yet. */
  readonly first: boolean;
  readonly nowMs: number;
}): NodeRecord {
  const { description, first } = input;
  return {
    node: {
      ...plain(description, input.nodeId),
      labels: checkedLabels(description.labels),
      manager: description.manager && first,
    },
    publicKeySha256: input.publicKeySha256,
    joinedAtMs: input.nowMs,
    removed: false,
  };
}

/** A node's record after it described itself anew. Labels and the manager role are not its own to change. */
export function describedNode(before: NodeRecord, description: Node): NodeRecord {
  const { id = '', labels = {}, manager = false } = before.node ?? {};
  return { ...before, node: { ...plain(description, id), labels, manager } };
}

function plain(description: Node, id: string): Node {
  if (!hostnamePattern.test(description.hostname)) throw bad('hostname', description.hostname);
  if (!isIpAddress(description.address)) throw bad('address', description.address);
  if (description.agentPort < 1 || description.agentPort > 65_535)
    throw bad('agent port', String(description.agentPort));
  // All nodes get it, with the member list.
  if (description.version.length > versionLengthMax) throw bad('version', description.version.slice(0, 80));
  const { trustedCaSha256 } = description;
  if (!/^(?:[0-9a-f]{64})?$/u.test(trustedCaSha256)) throw bad('digest of trusted CAs', trustedCaSha256.slice(0, 80));
  return NodeCodec.fromPartial({
    ...description,
    id,
    status: NodeStatus.NODE_STATUS_UNSPECIFIED,
    dispatchSynced: false,
    statusReason: '',
    publicKeySha256: '',
  });
}

function bad(what: string, value: string): BerthError {
  return new BerthError('InvalidArgument', `the node's ${what} is not usable: ${JSON.stringify(value)}`, {
    reason: 'BAD_NODE',
  });
}
