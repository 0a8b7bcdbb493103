import type { Lease, Network } from '@berth/contracts/network';
import type { NetworkSettings } from '@berth/workload';
import { formatCidr, parseCidr, piecesOf } from '@berth/workload';
import { pickRange } from './ranges.ts';
import type { Stored } from './records.ts';

export type LeaseDecision =
  /** The node holds a block that is not full. */
  | { readonly kind: 'held'; readonly lease: Lease }
  /** Take this free block. */
  | { readonly kind: 'take'; readonly lease: Lease }
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
    .map(({ value }) => value)
    .filter((lease) => lease.nodeId === nodeId && !full.has(lease.block))
    .sort((a, b) => parseCidr(a.block).base - parseCidr(b.block).base)[0];
  if (held) return { kind: 'held', lease: held };
  const free = network.ranges
    .flatMap((range) => piecesOf(parseCidr(range), network.blockPrefix).map(formatCidr))
    .filter((block) => !leases.has(block));
  const block = free[spread(`${nodeId}/${input.attempt}`) % Math.max(1, free.length)];
  if (block !== undefined) return { kind: 'take', lease: { networkId: network.id, block, nodeId } };
  const range = pickRange(input.settings, input.takenUnits, network.ranges.length);
  return range === undefined ? { kind: 'exhausted' } : { kind: 'grow', range };
}

/** FNV-1a: spreads names over numbers, the same everywhere. */
function spread(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  }
  return hash;
}
