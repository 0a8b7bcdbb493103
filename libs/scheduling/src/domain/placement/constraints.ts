import type { NodeFacts } from './types.ts';

/** One placement constraint, read. */
export type Constraint =
  | {
      readonly kind: 'valid';
      readonly field: string;
      readonly equal: boolean;
      readonly value: string;
      readonly text: string;
    }
  | { readonly kind: 'invalid'; readonly problem: string };

const fields =
  'node.id, node.hostname, node.role, node.platform.os, node.platform.arch, node.labels.*, engine.labels.*';
const pattern = /^\s*([a-zA-Z0-9_.\-/]+)\s*(==|!=)\s*(.*?)\s*$/u;

/** Reads "node.labels.disk == ssd" and the like. */
export function parseConstraint(text: string): Constraint {
  const match = pattern.exec(text);
  const [, field = '', operator, value = ''] = match ?? [];
  if (!match || value === '') {
    return invalid(`constraint ${JSON.stringify(text)} is not of the form "field == value" or "field != value"`);
  }
  if (!known(field)) return invalid(`constraint ${JSON.stringify(text)}: no field ${field}; there are ${fields}`);
  if (field.toLowerCase() === 'node.role' && value !== 'manager' && value !== 'worker') {
    return invalid(`constraint ${JSON.stringify(text)}: node.role is "manager" or "worker"`);
  }
  return { kind: 'valid', field, equal: operator === '==', value, text };
}

/** The first of the constraints that a node does not meet; undefined if it meets all. */
export function unmetConstraint(node: NodeFacts, constraints: readonly string[]): string | undefined {
  return constraints.find((text) => {
    const constraint = parseConstraint(text);
    return constraint.kind === 'invalid' || !meets(node, constraint);
  });
}

function meets(node: NodeFacts, constraint: Extract<Constraint, { kind: 'valid' }>): boolean {
  const actual = fieldValue(node, constraint.field);
  // As in Swarm, values compare without regard to case, and a label that is not there differs from any value.
  const equal = actual !== undefined && actual.toLowerCase() === constraint.value.toLowerCase();
  return equal === constraint.equal;
}

function fieldValue(node: NodeFacts, field: string): string | undefined {
  const lower = field.toLowerCase();
  if (lower.startsWith('node.labels.')) return node.labels[field.slice('node.labels.'.length)];
  if (lower.startsWith('engine.labels.')) return node.engineLabels[field.slice('engine.labels.'.length)];
  switch (lower) {
    case 'node.id':
      return node.id;
    case 'node.hostname':
      return node.hostname;
    case 'node.role':
      return node.manager ? 'manager' : 'worker';
    case 'node.platform.os':
      return node.os;
    case 'node.platform.arch':
      return node.architecture;
    default:
      return undefined;
  }
}

function known(field: string): boolean {
  const lower = field.toLowerCase();
  if (/^(node|engine)\.labels\../u.test(lower)) return true;
  return ['node.id', 'node.hostname', 'node.role', 'node.platform.os', 'node.platform.arch'].includes(lower);
}

function invalid(problem: string): Constraint {
  return { kind: 'invalid', problem };
}
