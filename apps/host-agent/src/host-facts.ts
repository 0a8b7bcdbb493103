import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** Destinations of the host's IPv4 routes in CIDR form, as the kernel lists them in the host's network namespace. */
export async function hostRoutes(): Promise<readonly string[]> {
  return routesOf(await readFile('/proc/net/route', 'utf8'));
}

/** Reads the kernel's table of routes. */
export function routesOf(table: string): readonly string[] {
  const [, ...lines] = table.trim().split('\n');
  return lines.flatMap((line) => {
    const fields = line.split('\t');
    const [device = '', destination, mask] = [fields[0], fields[1], fields[7]];
    // Bridges and overlays of ours are no foreign routes: an init that is tried again would find its own.
    if (destination === undefined || mask === undefined || /^b[tx]/u.test(device)) return [];
    return [`${address(destination)}/${prefixLength(mask)}`];
  });
}

/** The kernel prints addresses as the little-endian number they are in its memory. */
function address(hex: string): string {
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join('.');
}

function prefixLength(hex: string): number {
  return Number.parseInt(hex, 16).toString(2).replaceAll('0', '').length;
}

/** Name servers of the host that a container's question may be passed on to, read anew each time: the file may change. */
export function hostNameServers(files: readonly string[]): readonly string[] {
  for (const file of files) {
    const text = readIfThere(file);
    if (text === undefined) continue;
    return [...text.matchAll(/^\s*nameserver\s+(\S+)/gmu)].map((match) => match[1] ?? '');
  }
  return [];
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
