/** Id of the stack under which the control plane's own static tasks are listed; no user's stack may take the name. */
export const staticStackId = 'berth';

/** Scope of a stack with its services and tasks. */
export function stackScope(stackId: string): string {
  return `stack.${stackId}`;
}

/** Scope of a network with its endpoints and leases. */
export function networkScope(networkId: string): string {
  return `network.${networkId}`;
}

/** Scope of a node with its availability and membership. */
export function nodeScope(nodeId: string): string {
  return `node.${nodeId}`;
}

/** Scope in which instances of control-plane services are members. */
export const controlPlaneScope = 'node.control-plane';
