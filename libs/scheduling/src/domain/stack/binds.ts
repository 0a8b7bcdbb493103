import type { Node } from '@berth/contracts/registry';
import type { ServiceSpec, StackSpec } from '@berth/contracts/workload';
import { BerthError } from '@berth/kernel';
import { parseConstraint, unmetConstraint } from '../placement/constraints.ts';

/** Paths that a service mounts as its file wrote them, where that means something only on the host of the file. */
export function relativeBinds({ container }: ServiceSpec): string[] {
  return (container?.mounts ?? []).map(({ relativeSource }) => relativeSource).filter((source) => source !== '');
}

/**
 * Says which node has the relative paths that a stack's services mount: the cluster's only one, else none, for then a
 * constraint must say it. InvalidArgument with reason RELATIVE_BIND where none does, all services in one.
 */
export function bindNodeOf(spec: StackSpec, nodes: readonly Node[]): string {
  const [first, second] = nodes;
  if (!spec.services.some((service) => relativeBinds(service).length > 0) || !first) return '';
  if (!second) return first.id;
  const problems = spec.services.flatMap((service) => {
    const paths = relativeBinds(service);
    if (paths.length === 0 || admittedBy(service, nodes) <= 1) return [];
    return [`service ${JSON.stringify(service.name)} mounts ${paths.join(', ')}`];
  });
  if (problems.length === 0) return '';
  throw new BerthError(
    'InvalidArgument',
    `${problems.join('; ')}: a relative path is one of a single host, and the cluster has ${nodes.length} nodes; pin the ` +
      `service to the node that has it (deploy.placement.constraints: ["node.hostname == ${first.hostname}"]), write an ` +
      'absolute path that every node has, or use a named volume',
    { reason: 'RELATIVE_BIND' },
  );
}

/** Does a constraint of its own say which host is meant, also one that has yet to join? */
export function isPinned({ constraints }: ServiceSpec): boolean {
  return constraints.some((text) => {
    const constraint = parseConstraint(text);
    if (constraint.kind === 'invalid' || !constraint.equal) return false;
    return ['node.id', 'node.hostname'].includes(constraint.field.toLowerCase());
  });
}

function admittedBy({ constraints }: ServiceSpec, nodes: readonly Node[]): number {
  return nodes.filter((node) => unmetConstraint(node, constraints) === undefined).length;
}
