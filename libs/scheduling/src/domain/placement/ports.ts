import type { PortSpec } from '@berth/contracts/workload';
import { Protocol } from '@berth/contracts/workload';

/** Do two published ports ask for the same thing of a host? A port bound to all addresses meets every other. */
export function portsConflict(a: PortSpec, b: PortSpec): boolean {
  if (a.published === 0 || a.published !== b.published) return false;
  if ((a.protocol || Protocol.PROTOCOL_TCP) !== (b.protocol || Protocol.PROTOCOL_TCP)) return false;
  return addressesMeet(a.hostIp, b.hostIp);
}

/** No address, 0.0.0.0 and :: mean all: the engine binds them together, whatever the family of the other. */
function addressesMeet(a: string, b: string): boolean {
  return a === b || isAny(a) || isAny(b);
}

function isAny(address: string): boolean {
  return address === '' || address === '0.0.0.0' || address === '::';
}
