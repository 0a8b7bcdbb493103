export type { JudgedCluster, SettledOptions, VerdictOptions } from './judge.ts';
export { formatViolations, Judge } from './judge.ts';
export type { ContainerView, Rule, Violation } from './observation.ts';
export type { Inventories } from './rules/leftovers.ts';
export type { Snapshot } from './rules/untouched.ts';
