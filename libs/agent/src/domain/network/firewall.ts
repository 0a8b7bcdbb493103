import type { Block, Membership } from './blocks.ts';
import type { CarriedNetwork, HostLink } from './kernel.ts';
import { allKnown } from './kernel.ts';
import { overlayDevice } from './overlay-names.ts';

/** Sets of Berth's nft table. Elements of several parts are written with spaces between: `device address`. */
export const firewallSetNames = [
  /** Devices of the tasks' bridges. */
  'bridges',
  /** `bridge gateway`: where a bridge's containers may ask DNS. */
  'gateways',
  /** `from to`: devices of one network on this host, in both directions, each bridge with itself. */
  'peers',
  /** Bridges of networks with no way out. */
  'internal',
  /** VXLAN devices. */
  'overlays',
  /** `device block`: what may come in by a bridge or VXLAN device, by its source. */
  'sources',
  /** `bridge link block`: with host-gw, blocks of a bridge's network behind the host's own link. */
  'remote',
  /** `address block`: where a container on several networks goes by its default route, though the block is another
   *  network's of its own. */
  'members',
  /** `address block address`: and the address that it has there. */
  'translate',
  /** The cluster's address pool. */
  'pool',
  /** Addresses of the cluster's hosts. */
  'nodes',
  /** Ports at which parts of Berth listen on them. */
  'ports',
] as const;
export type FirewallSetName = (typeof firewallSetNames)[number];
export type FirewallSets = Readonly<Record<FirewallSetName, ReadonlySet<string>>>;

/** What is programmed on the host. */
export interface FirewallState {
  /** `damaged`: there, but its chains are not as we write them. */
  readonly table: 'absent' | 'ok' | 'damaged';
  readonly sets: FirewallSets;
  /** Rules of this cluster in Docker's DOCKER-USER chain; wanted is the one that accepts what the table has marked. */
  readonly accept: 'absent' | 'ok' | 'damaged';
}

/** What must be done; applied as one nft transaction and one rule in DOCKER-USER. */
export interface FirewallChange {
  readonly table: 'keep' | 'create' | 'remove';
  readonly add: FirewallSets;
  readonly remove: FirewallSets;
  readonly accept: 'keep' | 'create' | 'remove';
}

export interface FirewallInput {
  readonly clusterId: string;
  readonly link: HostLink | undefined;
  readonly blocks: readonly Block[];
  readonly networks: readonly CarriedNetwork[];
  readonly memberships: readonly Membership[];
  /** Hosts of the cluster, and the ports there that are for its parts alone. */
  readonly parts: { readonly addresses: readonly string[]; readonly ports: readonly number[] };
}

function setsOf(make: (name: FirewallSetName) => ReadonlySet<string>): FirewallSets {
  return Object.fromEntries(firewallSetNames.map((name) => [name, make(name)])) as unknown as FirewallSets;
}

export const noSets: FirewallSets = setsOf(() => new Set());
export const noFirewall: FirewallState = { table: 'absent', sets: noSets, accept: 'absent' };

/** The state that blocks and peers ask for; without blocks, nothing is left on the host. */
export function desiredFirewall(input: FirewallInput): FirewallState {
  const { blocks } = input;
  if (blocks.length === 0) return noFirewall;
  const sets = setsOf(() => new Set<string>()) as Record<FirewallSetName, Set<string>>;
  const byNetwork = Map.groupBy(blocks, (block) => block.networkId);
  for (const block of blocks) {
    sets.bridges.add(block.device);
    sets.gateways.add(`${block.device} ${block.gateway}`);
    sets.sources.add(`${block.device} ${block.block}`);
    if (block.internal) sets.internal.add(block.device);
    if (block.pool !== '') sets.pool.add(block.pool);
    for (const other of byNetwork.get(block.networkId) ?? []) sets.peers.add(`${block.device} ${other.device}`);
  }
  for (const network of input.networks) addPeers(sets, input, network, byNetwork.get(network.networkId) ?? []);
  addMemberships(sets, input);
  for (const address of input.parts.addresses) sets.nodes.add(address);
  for (const port of input.parts.ports) sets.ports.add(String(port));
  return { table: 'ok', sets, accept: 'ok' };
}

/** What comes from and goes to a network's blocks on other hosts. */
function addPeers(
  sets: Record<FirewallSetName, Set<string>>,
  { clusterId, link }: FirewallInput,
  { backend, vni, peers = [] }: CarriedNetwork,
  bridges: readonly Block[],
): void {
  if (peers.length === 0) return;
  if (backend === 'host-gw') {
    for (const { device } of link ? bridges : [])
      for (const { block } of peers) sets.remote.add(`${device} ${link?.device} ${block}`);
    return;
  }
  const overlay = overlayDevice(clusterId, vni);
  sets.overlays.add(overlay);
  for (const { block } of peers) sets.sources.add(`${overlay} ${block}`);
  for (const { device } of bridges) sets.peers.add(`${device} ${overlay}`).add(`${overlay} ${device}`);
}

/**
 * A container on several networks has one default route, by the first of them; the other blocks of the others it reaches
 * by that, too. What it says there gets the address that it has on that network; what it answers from there is let out.
 */
function addMemberships(sets: Record<FirewallSetName, Set<string>>, input: FirewallInput): void {
  const peers = new Map(input.networks.map((network) => [network.networkId, network.peers ?? []]));
  for (const { wayOut, others } of input.memberships) {
    for (const { ip, block } of others) {
      sets.sources.add(`${wayOut.block.device} ${ip}`);
      const local = input.blocks.filter((each) => each.networkId === block.networkId && each !== block);
      for (const reached of [...local, ...(peers.get(block.networkId) ?? [])]) {
        sets.members.add(`${wayOut.ip} ${reached.block}`);
        sets.translate.add(`${wayOut.ip} ${reached.block} ${ip}`);
      }
    }
  }
}

/**
 * The smallest change from what is there to what is wanted; undefined when nothing differs. While peers of a network are
 * not known, what is there of other hosts stays.
 */
export function diffFirewall(
  actual: FirewallState,
  desired: FirewallState,
  networks: readonly CarriedNetwork[],
): FirewallChange | undefined {
  const whole = allKnown(networks);
  const accept = acceptChange(actual, desired);
  if (desired.table === 'absent') {
    const table = actual.table === 'absent' ? 'keep' : 'remove';
    return table === 'keep' && accept === 'keep' ? undefined : { table, add: noSets, remove: noSets, accept };
  }
  if (actual.table !== 'ok') return { table: 'create', add: desired.sets, remove: noSets, accept };
  const add = setsOf((name) => desired.sets[name].difference(actual.sets[name]));
  const remove = setsOf((name) =>
    !whole && ofOtherHosts.has(name) ? new Set() : actual.sets[name].difference(desired.sets[name]),
  );
  const differs = firewallSetNames.some((name) => add[name].size + remove[name].size > 0);
  return differs || accept !== 'keep' ? { table: 'keep', add, remove, accept } : undefined;
}

/** What is programmed once the difference is applied. */
export function firewallAfter(
  actual: FirewallState,
  desired: FirewallState,
  networks: readonly CarriedNetwork[],
): FirewallState {
  if (allKnown(networks) || actual.table !== 'ok' || desired.table !== 'ok') return desired;
  const sets = setsOf((name) =>
    ofOtherHosts.has(name) ? actual.sets[name].union(desired.sets[name]) : desired.sets[name],
  );
  return { ...desired, sets };
}

const ofOtherHosts: ReadonlySet<FirewallSetName> = new Set([
  'overlays',
  'peers',
  'sources',
  'remote',
  'members',
  'translate',
]);

function acceptChange(actual: FirewallState, desired: FirewallState): FirewallChange['accept'] {
  if (actual.accept === desired.accept) return 'keep';
  return desired.accept === 'absent' ? 'remove' : 'create';
}
