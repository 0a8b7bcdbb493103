import type { Lease, Network } from '@berth/contracts/network';
import type { NetworkSettings } from '@berth/workload';
import { formatCidr, parseCidr, piecesOf } from '@berth/workload';
import { pickRange } from './ranges.ts';
import type { Stored } from './records.ts';
import { spread } from './spread.ts';

export type LeaseDecision =
  /** The node holds a block that is not full. */
  | { readonly kind: 'held'; readonly lease: Stored<Lease> }
  /** Take this free block. */
  | { readonly kind: 'take'; readonly block: string }
  /** The network's ranges are leased out: add this range, then decide again. */
  | { readonly kind: 'grow'; readonly range: string }
  /** Not one unit of the pool is free. */
  | { readonly kind: 'exhausted' };

export interface LeaseInput {
  readonly network: Network;
  /** Leases of the network by block. */
  readonly leases: ReadonlyMap<string, Stored<Lease>>;
  readonly takenUnits: ReadonlySet<string>;
  readonly settings: NetworkSettings;
  readonly nodeId: string;
  /** Blocks that the node says are full; those of others are ignored. */
  readonly fullBlocks: readonly string[];
  /** Decisions before this one that lost a race. Each picks elsewhere, so that many nodes at once don't chase one block. */
  readonly attempt: number;
}

/** Which block a node gets of a network. */
export function decideLease(input: LeaseInput): LeaseDecision {
  const { network, leases, nodeId } = input;
  const full = new Set(input.fullBlocks);
  const held = [...leases.values()]
    .filter(({ value }) => value.nodeId === nodeId && !full.has(value.block))
    .sort((a, b) => parseCidr(a.value.block).base - parseCidr(b.value.block).base)[0];
  if (held) return { kind: 'held', lease: held };
  const free = network.ranges
    .flatMap((range) => piecesOf(parseCidr(range), network.blockPrefix).map(formatCidr))
    .filter((block) => !leases.has(block));
  const block = free[spread(`${nodeId}/${input.attempt}`) % Math.max(1, free.length)];
  if (block !== undefined) return { kind: 'take', block };
  const range = pickRange(input.settings, input.takenUnits, network.ranges.length);
  return range === undefined ? { kind: 'exhausted' } : { kind: 'grow', range };
}
