import { NodeStatus } from '@berth/contracts/registry';
import type { Candidate, Filter } from '../types.ts';

/** Nodes that are there and whose agent listens. */
export const nodeReady: Filter = {
  name: 'node-ready',
  lack: 'not ready',
  admits: (_demand, { node }) => node.status === NodeStatus.NODE_STATUS_READY && node.dispatchSynced,
  detail: (_demand, refused) => refused.map(describe).join(', '),
};

/** Left out only for what may pass by itself within seconds. */
export function mayPass({ node }: Candidate): boolean {
  const isReady = node.status === NodeStatus.NODE_STATUS_READY;
  return node.status === NodeStatus.NODE_STATUS_SUSPECT || (isReady && !node.dispatchSynced);
}

function describe({ node }: Candidate): string {
  return `${node.hostname} ${state(node.status, node.dispatchSynced)}`;
}

function state(status: NodeStatus, dispatchSynced: boolean): string {
  switch (status) {
    case NodeStatus.NODE_STATUS_READY:
      return dispatchSynced ? 'is ready' : 'is not listening: its agent has no synced dispatch session';
    case NodeStatus.NODE_STATUS_SUSPECT:
      return 'is suspect';
    case NodeStatus.NODE_STATUS_LOST:
      return 'is lost';
    case NodeStatus.NODE_STATUS_LEFT:
      return 'has left';
    default:
      return 'was never heard of';
  }
}
