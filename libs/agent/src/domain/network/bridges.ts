/** A bridge of this host that carries a block of an application network. */
export interface Bridge {
  /** Device name, at most 15 characters. */
  readonly device: string;
  readonly networkId: string;
  /** Block in CIDR form. */
  readonly block: string;
  /** The host's address on the bridge: containers' default route and DNS server. */
  readonly gateway: string;
  /** No way out of the network. */
  readonly internal: boolean;
}

/**
 * Device name of a block's bridge: `bt` and the block's address in hex. Addresses are the cluster's own and blocks don't
 * overlap, so it is unique on a host, and a restarted agent finds the same name.
 */
export function bridgeDevice(block: string): string {
  const { first } = parseBlock(block);
  return `bt${first.toString(16).padStart(8, '0')}`;
}

/** First address after the network's own: the gateway. */
export function gatewayOf(block: string): string {
  return formatIp(parseBlock(block).first + 1);
}

/** Prefix of an address with the block's mask: `198.19.0.5/26`. */
export function parseBlock(block: string): { readonly first: number; readonly size: number; readonly prefix: number } {
  const [ip = '', bits = ''] = block.split('/');
  const address = parseIp(ip);
  const prefix = Number(bits);
  if (address === undefined || !/^\d{1,2}$/u.test(bits) || prefix > 30) {
    throw new RangeError(`not an address block: ${JSON.stringify(block)}`);
  }
  const size = 2 ** (32 - prefix);
  return { first: address - (address % size), size, prefix };
}

export function parseIp(ip: string): number | undefined {
  const bytes = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/u.exec(ip)?.slice(1).map(Number);
  if (!bytes || Math.max(...bytes) > 255) return undefined;
  return bytes.reduce((address, byte) => address * 256 + byte, 0);
}

export function formatIp(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/**
 * Picks a free address of a block for a container: the first after `after`, around the block, so that an address that was
 * just given back is used again as late as possible (peers may still have it in mind). Undefined when the block is full.
 */
export function pickAddress(block: string, used: ReadonlySet<string>, after?: string): string | undefined {
  const { first, size } = parseBlock(block);
  const usable = size - 3; // without the network's own address, the gateway and broadcast
  const last = after === undefined ? undefined : parseIp(after);
  const start = last === undefined ? 0 : last - (first + 2) + 1;
  for (let i = 0; i < usable; i++) {
    const ip = formatIp(first + 2 + ((((start + i) % usable) + usable) % usable));
    if (!used.has(ip)) return ip;
  }
  return undefined;
}
