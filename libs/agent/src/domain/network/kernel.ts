import { clusterTag, overlayDevice, vtepMac } from './overlay-names.ts';
import type { Peer } from './peers.ts';

/** Bytes that VXLAN over IPv4 adds to each packet. */
const vxlanOverheadBytes = 50;
/** Of a link that is not known, or of loopback, whose own is no measure of what lies behind it. */
const defaultMtu = 1500;

/** The host's own device that carries its address. */
export interface HostLink {
  readonly device: string;
  readonly mtu: number;
}

export interface VxlanDevice {
  readonly vni: number;
  readonly mac: string;
  /** Address that its packets come from. */
  readonly local: string;
  /** UDP port at which it takes packets. */
  readonly port: number;
  readonly mtu: number;
  readonly up: boolean;
}

/**
 * What the kernel holds of ours: VXLAN devices by name, and, written as `ip` and `bridge` take them, neighbours
 * (`ADDRESS dev D` → MAC), forwarding entries (`MAC dev D` → where to) and routes (`BLOCK` → which way).
 */
export interface KernelState {
  readonly devices: ReadonlyMap<string, VxlanDevice>;
  readonly neighbours: ReadonlyMap<string, string>;
  readonly forwards: ReadonlyMap<string, string>;
  readonly routes: ReadonlyMap<string, string>;
}

/** Lines for one batch of `ip` and, after it, one of `bridge`. */
export interface KernelChange {
  readonly ip: readonly string[];
  readonly bridge: readonly string[];
}

/** A network that this host carries. */
export interface CarriedNetwork {
  readonly networkId: string;
  readonly backend: string;
  readonly vni: number;
  /** The host's address on a bridge of it: what the host itself says to the network's other hosts comes from there. */
  readonly gateway: string;
  /** Undefined while they are not known: then what is programmed of it stays. */
  readonly peers: readonly Peer[] | undefined;
}

export interface KernelInput {
  readonly clusterId: string;
  /** Address at which this host is reached. */
  readonly address: string;
  /** UDP port at which it takes VXLAN packets. */
  readonly vxlanPort: number;
  /** Undefined when no device carries the address. */
  readonly link: HostLink | undefined;
  readonly networks: readonly CarriedNetwork[];
}

/** MTU of a network's containers, unless its options say otherwise: what fits into the host's link. */
export function networkMtu(backend: string, link: HostLink | undefined): number {
  const mtu = !link || link.device === 'lo' ? defaultMtu : link.mtu;
  return backend === 'vxlan' ? mtu - vxlanOverheadBytes : mtu;
}

/**
 * What the kernel is to hold. With VXLAN, a device for each network with peers, and for each of their hosts one neighbour
 * and one forwarding entry: the packet for a block goes to its host's address "on" the device, which the neighbour entry
 * turns into the host's MAC there and the forwarding entry into an outer packet to the host. Nothing is asked of the
 * network, learnt or flooded. With host-gw, a route through the host.
 */
export function desiredKernel(input: KernelInput): KernelState {
  const { clusterId, address, vxlanPort, link } = input;
  const devices = new Map<string, VxlanDevice>();
  const neighbours = new Map<string, string>();
  const forwards = new Map<string, string>();
  const routes = new Map<string, string>();
  for (const { backend, vni, gateway, peers = [] } of input.networks) {
    if (peers.length === 0) continue;
    if (backend === 'host-gw') {
      if (!link) continue;
      for (const peer of peers) routes.set(peer.block, `via ${peer.address} dev ${link.device} src ${gateway}`);
      continue;
    }
    const device = overlayDevice(clusterId, vni);
    const mtu = networkMtu(backend, link);
    devices.set(device, { vni, mac: vtepMac(address), local: address, port: vxlanPort, mtu, up: true });
    for (const peer of peers) {
      const mac = vtepMac(peer.address);
      neighbours.set(`${peer.address} dev ${device}`, mac);
      forwards.set(`${mac} dev ${device}`, `dst ${peer.address} port ${peer.vxlanPort}`);
      routes.set(peer.block, `via ${peer.address} dev ${device} src ${gateway} onlink`);
    }
  }
  return { devices, neighbours, forwards, routes };
}

/** Protocol number that marks Berth's routes; nobody has it in iproute2's list or the kernel's. */
export const routeProtocol = 116;

/** Metric of a cluster's routes: tells them from those of another cluster on the host. */
export function routeMetric(clusterId: string): number {
  return 0x10_00_00 + clusterTag(clusterId);
}

/** How a route of ours is told from all others. */
function routeMark(clusterId: string): string {
  return `proto ${routeProtocol} metric ${routeMetric(clusterId)}`;
}

/**
 * The smallest change from what is there to what is wanted; undefined when nothing differs. While peers of a network are
 * not known, nothing is removed: absence counts only in what is known whole.
 */
export function diffKernel(
  actual: KernelState,
  desired: KernelState,
  { clusterId, networks }: Pick<KernelInput, 'clusterId' | 'networks'>,
): KernelChange | undefined {
  const whole = allKnown(networks);
  const mark = routeMark(clusterId);
  const ip: string[] = [];
  const remade = new Set<string>();
  for (const [name, device] of actual.devices) {
    const wanted = desired.devices.get(name);
    const fits = wanted && wanted.vni === device.vni && wanted.local === device.local && wanted.port === device.port;
    if (fits || (!wanted && !whole)) continue;
    ip.push(`link del ${name}`);
    remade.add(name);
  }
  /** The kernel drops what belongs to a device with it. */
  const kept = (entries: ReadonlyMap<string, string>) =>
    new Map([...entries].filter(([key, value]) => !remade.has(deviceOf(`${key} ${value}`))));
  for (const [name, wanted] of desired.devices) {
    const found = remade.has(name) ? undefined : actual.devices.get(name);
    if (!found) {
      const { vni, mac, local, port, mtu } = wanted;
      ip.push(
        `link add ${name} address ${mac} mtu ${mtu} type vxlan id ${vni} local ${local} dstport ${port} nolearning`,
        `link set ${name} addrgenmode none up`,
      );
    } else if (found.mac !== wanted.mac || found.mtu !== wanted.mtu || !found.up) {
      ip.push(`link set ${name} address ${wanted.mac} mtu ${wanted.mtu} up`);
    }
  }
  const neighbours = changes(kept(actual.neighbours), desired.neighbours, whole);
  for (const [key, mac] of neighbours.set) {
    const [address, ...device] = key.split(' ');
    ip.push(`neigh replace ${address} lladdr ${mac} ${device.join(' ')} nud permanent`);
  }
  const routes = changes(kept(actual.routes), desired.routes, whole);
  for (const block of routes.gone) ip.push(`route del ${block} ${mark}`);
  for (const [block, way] of routes.set) ip.push(`route replace ${block} ${way} ${mark}`);
  for (const key of neighbours.gone) ip.push(`neigh del ${key}`);
  const forwards = changes(kept(actual.forwards), desired.forwards, whole);
  const bridge = [
    ...forwards.gone.map((key) => `fdb del ${key} self`),
    ...forwards.set.map(([key, to]) => `fdb replace ${key} ${to} self permanent`),
  ];
  return ip.length + bridge.length > 0 ? { ip, bridge } : undefined;
}

/** What the kernel holds once the difference is programmed. */
export function kernelAfter(
  actual: KernelState,
  desired: KernelState,
  { networks }: Pick<KernelInput, 'networks'>,
): KernelState {
  if (allKnown(networks)) return desired;
  return {
    devices: new Map([...actual.devices, ...desired.devices]),
    neighbours: new Map([...actual.neighbours, ...desired.neighbours]),
    forwards: new Map([...actual.forwards, ...desired.forwards]),
    routes: new Map([...actual.routes, ...desired.routes]),
  };
}

/** Are the peers of all networks known? Only then does absence count. */
export function allKnown(networks: readonly CarriedNetwork[]): boolean {
  return networks.every(({ peers }) => peers !== undefined);
}

function changes(
  actual: ReadonlyMap<string, string>,
  desired: ReadonlyMap<string, string>,
  whole: boolean,
): { readonly set: readonly (readonly [string, string])[]; readonly gone: readonly string[] } {
  return {
    set: [...desired].filter(([key, value]) => actual.get(key) !== value),
    gone: whole ? [...actual.keys()].filter((key) => !desired.has(key)) : [],
  };
}

/** `… dev D …` → D. */
function deviceOf(entry: string): string {
  return /(?:^| )dev (\S+)/u.exec(entry)?.[1] ?? '';
}
