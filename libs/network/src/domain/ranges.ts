import type { Cidr, NetworkSettings } from '@berth/workload';
import { formatCidr, parseCidr, piecesOf, sizeOf } from '@berth/workload';

/** A range never covers more units than this, so that taking it fits into one txn. */
export const unitsPerRangeMax = 64;

/** Keys of the units that a range covers. */
export function unitsOf(settings: NetworkSettings, range: string): string[] {
  return piecesOf(parseCidr(range), settings.rangePrefix).map(formatCidr);
}

/**
 * A range for a network that holds `held` ranges: one unit for the first, each next one twice as large as the one before,
 * up to `unitsPerRangeMax` units. Where the pool has no gap of that size, the largest gap that is left is used; undefined
 * when not one unit is free. The pick is the lowest aligned gap.
 */
export function pickRange(
  settings: NetworkSettings,
  takenUnits: ReadonlySet<string>,
  held: number,
): string | undefined {
  const largest = Math.min(settings.rangePrefix, 32);
  for (let units = Math.min(2 ** held, unitsPerRangeMax); units >= 1; units /= 2) {
    const prefix = largest - Math.log2(units);
    if (prefix < settings.pool.prefix) continue;
    const gap = lowestGap(settings, takenUnits, prefix);
    if (gap) return formatCidr(gap);
  }
  return undefined;
}

function lowestGap(settings: NetworkSettings, takenUnits: ReadonlySet<string>, prefix: number): Cidr | undefined {
  const { pool, rangePrefix } = settings;
  const end = pool.base + sizeOf(pool.prefix);
  const unit = sizeOf(rangePrefix);
  for (let base = pool.base; base < end; base += sizeOf(prefix)) {
    let free = true;
    for (let at = base; free && at < base + sizeOf(prefix); at += unit) {
      free = !takenUnits.has(formatCidr({ base: at, prefix: rangePrefix }));
    }
    if (free) return { base, prefix };
  }
  return undefined;
}
