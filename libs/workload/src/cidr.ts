import { BerthError } from '@berth/kernel';

/** An IPv4 block: `base` is its first address as an unsigned 32-bit number, `prefix` its length (0-32). */
export interface Cidr {
  readonly base: number;
  readonly prefix: number;
}

const pattern = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/u;

/** Reads "10.64.0.0/10". Throws InvalidArgument for another form or an address that is not the block's first. */
export function parseCidr(text: string): Cidr {
  const match = pattern.exec(text);
  const [a = 256, b = 256, c = 256, d = 256, prefix = 33] = match ? match.slice(1).map(Number) : [];
  if (Math.max(a, b, c, d) > 255 || prefix > 32) {
    throw new BerthError('InvalidArgument', `not an IPv4 block in CIDR form: ${JSON.stringify(text)}`, {
      reason: 'BAD_CIDR',
    });
  }
  const base = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
  if (base % sizeOf(prefix) !== 0) {
    throw new BerthError('InvalidArgument', `${text} has address bits beyond its prefix length`, {
      reason: 'BAD_CIDR',
    });
  }
  return { base, prefix };
}

export function formatCidr({ base, prefix }: Cidr): string {
  return `${base >>> 24}.${(base >>> 16) & 255}.${(base >>> 8) & 255}.${base & 255}/${prefix}`;
}

/** Number of addresses in a block of this prefix length. */
export function sizeOf(prefix: number): number {
  return 2 ** (32 - prefix);
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.base < b.base + sizeOf(b.prefix) && b.base < a.base + sizeOf(a.prefix);
}

export function contains(outer: Cidr, inner: Cidr): boolean {
  return outer.prefix <= inner.prefix && overlaps(outer, inner);
}

/** The pieces of a block, each `prefix` long, in order. */
export function piecesOf(whole: Cidr, prefix: number): Cidr[] {
  if (prefix < whole.prefix) return [];
  const step = sizeOf(prefix);
  return Array.from({ length: 2 ** (prefix - whole.prefix) }, (_, i) => ({ base: whole.base + i * step, prefix }));
}
