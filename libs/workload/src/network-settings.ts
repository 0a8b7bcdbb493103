import { BerthError } from '@berth/kernel';
import type { Cidr } from './cidr.ts';
import { parseCidr } from './cidr.ts';

/** How the cluster cuts its address pool; fixed at `cluster init`. */
export interface NetworkSettings {
  /** All application networks' addresses. Default 10.64.0.0/10. */
  readonly pool: Cidr;
  /** Prefix length of a network's first range, and of the units in which ranges are given out. Default 22. */
  readonly rangePrefix: number;
  /** Prefix length of the block that a node leases. Default 26. */
  readonly blockPrefix: number;
}

/** Picks look at every range of the pool, and at every block of a range: more than this would hold up everything else. */
const rangesMax = 2 ** 16;
const blocksPerRangeMax = 2 ** 10;

export const defaultNetworkSettings = { pool: '10.64.0.0/10', rangePrefix: 22, blockPrefix: 26 } as const;

/** Checks that the sizes fit into each other. A block has at least 8 addresses: network, gateway, broadcast and a few
 *  containers. Throws InvalidArgument with reason BAD_NETWORK_SETTINGS. */
export function networkSettings(input: {
  readonly pool: string;
  readonly rangePrefix: number;
  readonly blockPrefix: number;
}): NetworkSettings {
  const pool = parseCidr(input.pool);
  const { rangePrefix, blockPrefix } = input;
  const ordered =
    Number.isInteger(rangePrefix) &&
    Number.isInteger(blockPrefix) &&
    pool.prefix <= rangePrefix &&
    rangePrefix <= blockPrefix &&
    blockPrefix <= 29;
  if (!ordered) {
    throw new BerthError(
      'InvalidArgument',
      `network sizes must be pool /${pool.prefix} <= range /${rangePrefix} <= block /${blockPrefix} <= /29 in prefix length`,
      { reason: 'BAD_NETWORK_SETTINGS' },
    );
  }
  if (2 ** (rangePrefix - pool.prefix) > rangesMax || 2 ** (blockPrefix - rangePrefix) > blocksPerRangeMax) {
    throw new BerthError(
      'InvalidArgument',
      `a pool /${pool.prefix} of ranges /${rangePrefix} of blocks /${blockPrefix} has too many of them: ` +
        `at most ${rangesMax} ranges, and ${blocksPerRangeMax} blocks in each`,
      { reason: 'BAD_NETWORK_SETTINGS' },
    );
  }
  return { pool, rangePrefix, blockPrefix };
}
