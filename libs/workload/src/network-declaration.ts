import type { NetworkSpec } from '@berth/contracts/workload';

/** What a network is declared with and keeps for its life: another one is another network. */
export type NetworkDeclaration = Pick<NetworkSpec, 'internal' | 'driverOpts'>;

/** Are two networks declared alike, in whatever order their driver options were written? */
export function isDeclaredAlike(a: NetworkDeclaration, b: NetworkDeclaration): boolean {
  const options = Object.entries(a.driverOpts);
  return (
    a.internal === b.internal &&
    options.length === Object.keys(b.driverOpts).length &&
    options.every(([option, value]) => b.driverOpts[option] === value)
  );
}
