import { spread } from './spread.ts';

/** How blocks of a network on different hosts reach each other. */
export const backends = ['vxlan', 'host-gw'] as const;
export type Backend = (typeof backends)[number];

/** Option of `driver_opts` that chooses the backend. */
export const backendOption = 'berth.backend';
export const mtuOption = 'com.docker.network.driver.mtu';

/** The backend that options ask for; undefined if there is none of that name. */
export function backendOf(driverOpts: Readonly<Record<string, string>>): Backend | undefined {
  const asked = driverOpts[backendOption];
  return asked === undefined ? 'vxlan' : backends.find((backend) => backend === asked);
}

/** Other systems on a host count from 1 (Flannel) or 4096 (Swarm); identifiers have 24 bits. */
const vniMin = 4096;
const vniEnd = 2 ** 24;

/**
 * A free VXLAN network identifier. Spread over all there are, by the network's id: two clusters that share hosts, or a
 * host that missed a removal, do not meet in one identifier.
 */
export function pickVni(networkId: string, taken: ReadonlySet<number>): number {
  const span = vniEnd - vniMin;
  let at = spread(networkId) % span;
  while (taken.has(vniMin + at)) at = (at + 1) % span;
  return vniMin + at;
}
