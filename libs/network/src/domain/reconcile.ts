import type { Holder, Lease, Network } from '@berth/contracts/network';
import type { Stack } from '@berth/contracts/scheduler';
import type { NetworkSpec } from '@berth/contracts/workload';
import type { Revision } from '@berth/kernel';
import type { NetworkSettings } from '@berth/workload';
import { isDeclaredAlike } from '@berth/workload';
import { pickRange, unitsOf } from './ranges.ts';
import type { Stored } from './records.ts';
import type { NetworkState } from './tables.ts';
import { claimId } from './tables.ts';

export type NetworkAction =
  /** Give a declared network its first range. */
  | { readonly kind: 'create'; readonly stack: Stack; readonly spec: NetworkSpec; readonly range: string }
  /** A declared network is still there, with the blocks of its tasks, from before it was not declared for a while. */
  | { readonly kind: 'revive'; readonly network: Network; readonly stack: Stack; readonly spec: NetworkSpec }
  /** A declared network can't have a range: the pool is used up. */
  | { readonly kind: 'blocked'; readonly stack: Stack; readonly spec: NetworkSpec }
  /** A node has left the cluster: its blocks go back. */
  | { readonly kind: 'release'; readonly lease: Stored<Lease>; readonly holder: Stored<Holder> }
  /** No stack declares it any more: no new blocks. */
  | { readonly kind: 'start-deleting'; readonly network: Network }
  /** A deleting network without blocks gives its last range back; it has more. */
  | { readonly kind: 'drop-range'; readonly network: Network; readonly range: string }
  /** A deleting network without blocks goes, with its only range. */
  | { readonly kind: 'remove'; readonly network: Network };

/** The scheduler's stacks as far as the mirror has come. */
export interface DeclaredStacks {
  readonly revision: Revision;
  readonly stacks: readonly Stack[];
}

export interface ReconcileInput {
  readonly state: NetworkState;
  readonly settings: NetworkSettings;
  /** Undefined while the mirror of the scheduler is not synced: nothing is created then, and absence proves nothing. */
  readonly declared: DeclaredStacks | undefined;
  /** Nodes that have left for good. One that is not known is not among them: it may have joined a moment ago. */
  readonly leftNodes: ReadonlySet<string>;
}

/** Name for people: what the file's `name:` says, or Compose's own default. */
export function fullNameOf(stack: string, spec: NetworkSpec): string {
  return spec.externalName || `${stack}_${spec.name}`;
}

/**
 * What has to happen to the networks, given what stacks declare. Any number of replicas may decide at once: each thing
 * that can be taken once is created only if absent, and the others decide again.
 */
export function reconcileNetworks({ state, settings, declared, leftNodes }: ReconcileInput): NetworkAction[] {
  const actions: NetworkAction[] = leftBlocks(state, leftNodes);
  for (const { value: network } of state.networks.values()) {
    if (network.deleting && state.leasesOf(network.id).size === 0) actions.push(giveBack(network));
  }
  if (!declared) return actions;

  const wanted = wantedOf(declared);
  for (const [id, { value: claim }] of state.claims) {
    const network = state.networks.get(claim.networkId)?.value;
    if (wanted.has(id) || !network || network.deleting) continue;
    // A replica that lags may not know the stack yet that another one has made a network for.
    const seen = claim.declaredAt;
    if (seen && seen.epoch === declared.revision.epoch && seen.revision > declared.revision.revision) continue;
    actions.push({ kind: 'start-deleting', network });
  }
  const taken = new Set(state.takenUnits);
  for (const [id, { stack, spec }] of wanted) {
    if (state.claims.has(id)) continue;
    const network = stillInUse(state, stack, spec);
    if (network) {
      actions.push({ kind: 'revive', network, stack, spec });
      continue;
    }
    const range = pickRange(settings, taken, 0);
    if (range === undefined) {
      actions.push({ kind: 'blocked', stack, spec });
      continue;
    }
    for (const unit of unitsOf(settings, range)) taken.add(unit);
    actions.push({ kind: 'create', stack, spec, range });
  }
  return actions;
}

/** What stacks declare, by claim. */
function wantedOf({ stacks }: DeclaredStacks): Map<string, { readonly stack: Stack; readonly spec: NetworkSpec }> {
  const own = stacks.filter((stack) => !stack.removing && !stack.static);
  return new Map(
    own.flatMap((stack) => stack.networks.map((spec) => [claimId(stack.id, spec.name), { stack, spec }] as const)),
  );
}

/**
 * A network that the stack has dropped and declares again as it was, while tasks are on it: a file that was changed and,
 * before its rollout came to an end, changed back. In a new network the next tasks would not find the others.
 */
export function stillInUse(state: NetworkState, stack: Pick<Stack, 'id'>, spec: NetworkSpec): Network | undefined {
  for (const { value: network } of state.networks.values()) {
    if (!network.deleting || network.stackId !== stack.id || network.name !== spec.name) continue;
    if (!isDeclaredAlike(network, spec)) continue;
    if (state.leasesOf(network.id).size > 0) return network;
  }
  return undefined;
}

/** One block of each network and node: the next ones when the holder's record is known as it then is. */
function leftBlocks(state: NetworkState, leftNodes: ReadonlySet<string>): NetworkAction[] {
  if (leftNodes.size === 0) return [];
  return [...state.holders.values()].flatMap((holder) => {
    const { networkId, nodeId, blocks } = holder.value;
    const lease = leftNodes.has(nodeId) ? state.leasesOf(networkId).get(blocks[0] ?? '') : undefined;
    return lease ? [{ kind: 'release', lease, holder } as const] : [];
  });
}

/** Range by range, so that a network of any size fits into txns. */
function giveBack(network: Network): NetworkAction {
  const last = network.ranges.at(-1);
  return last !== undefined && network.ranges.length > 1
    ? { kind: 'drop-range', network, range: last }
    : { kind: 'remove', network };
}
