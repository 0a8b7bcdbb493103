/** An IPv4 network: the first address as a number, and the prefix length. */
interface Block {
  readonly first: number;
  readonly size: number;
}

/** Reads "a.b.c.d/n"; undefined if it is none. */
function blockOf(cidr: string): Block | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/u.exec(cidr);
  if (match === null) return undefined;
  const [a = 0, b = 0, c = 0, d = 0, prefix = 0] = match.slice(1).map(Number);
  if (Math.max(a, b, c, d) > 255 || prefix > 32) return undefined;
  const size = 2 ** (32 - prefix);
  const address = ((a * 256 + b) * 256 + c) * 256 + d;
  return { first: address - (address % size), size };
}

/** The first of the host's routes that overlaps the pool; a default route doesn't count. */
export function overlappingRoute(pool: string, routes: readonly string[]): string | undefined {
  const wanted = blockOf(pool);
  if (wanted === undefined) return undefined;
  return routes.find((route) => {
    const other = blockOf(route);
    if (other === undefined || other.size === 2 ** 32) return false;
    return wanted.first < other.first + other.size && other.first < wanted.first + wanted.size;
  });
}
