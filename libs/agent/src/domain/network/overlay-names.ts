import { parseIp } from './bridges.ts';

/** 20 bits that stand for a cluster in what the kernel holds (FNV-1a of its id). */
export function clusterTag(clusterId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < clusterId.length; i++) hash = Math.imul(hash ^ clusterId.charCodeAt(i), 0x01000193) >>> 0;
  return (hash ^ (hash >>> 20)) & 0xf_ff_ff;
}

/** Beginning of the names of a cluster's VXLAN devices: `bx` and five digits for the cluster. */
export function overlayPrefix(clusterId: string): string {
  return `bx${hex(clusterTag(clusterId), 5)}`;
}

/** Name of a network's VXLAN device, 13 characters: the cluster's beginning and six digits for the VNI. */
export function overlayDevice(clusterId: string, vni: number): string {
  return `${overlayPrefix(clusterId)}${hex(vni, 6)}`;
}

/**
 * MAC of a host's VXLAN devices, made of its address: every other host knows it without being told. `be` is a locally
 * administered unicast address, and not `02:42`, with which Docker begins those of containers.
 */
export function vtepMac(address: string): string {
  const ip = parseIp(address);
  if (ip === undefined) throw new RangeError(`not an IPv4 address: ${JSON.stringify(address)}`);
  return `be:72:${hex(ip, 8).replace(/..(?!$)/gu, '$&:')}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
