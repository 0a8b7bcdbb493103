import type { Bridge } from './bridges.ts';

/** Sets of Berth's nft table, as data. Elements of pairs are written `a b`. */
export interface FirewallSets {
  /** Devices of all bridges. */
  readonly bridges: ReadonlySet<string>;
  /** `device gateway`: where a bridge's containers may ask DNS. */
  readonly gateways: ReadonlySet<string>;
  /** `from to`: bridges of one network, in both directions, each with itself. */
  readonly peers: ReadonlySet<string>;
  /** Devices of networks with no way out. */
  readonly internal: ReadonlySet<string>;
}

/** What is programmed on the host. */
export interface FirewallState {
  /** `damaged`: there, but its chains are not as we write them. */
  readonly table: 'absent' | 'ok' | 'damaged';
  readonly sets: FirewallSets;
  /** `from to` pairs accepted in Docker's DOCKER-USER chain by rules of this cluster. */
  readonly accepts: ReadonlySet<string>;
}

/** What must be done; applied as one nft transaction and one batch for DOCKER-USER. */
export interface FirewallChange {
  readonly table: 'keep' | 'create' | 'remove';
  readonly add: FirewallSets;
  readonly remove: FirewallSets;
  readonly addAccepts: readonly string[];
  readonly removeAccepts: readonly string[];
}

const none: FirewallSets = { bridges: new Set(), gateways: new Set(), peers: new Set(), internal: new Set() };
const setNames = ['bridges', 'gateways', 'peers', 'internal'] as const;

/** The state that a set of bridges asks for; without bridges, nothing is left on the host. */
export function desiredFirewall(bridges: readonly Bridge[]): FirewallState {
  const peers = new Set<string>();
  const accepts = new Set<string>();
  const byNetwork = Map.groupBy(bridges, (bridge) => bridge.networkId);
  for (const siblings of byNetwork.values()) {
    for (const from of siblings) {
      for (const to of siblings) {
        peers.add(`${from.device} ${to.device}`);
        // Docker itself accepts what stays on one bridge.
        if (from !== to) accepts.add(`${from.device} ${to.device}`);
      }
    }
  }
  return {
    table: bridges.length === 0 ? 'absent' : 'ok',
    sets: {
      bridges: new Set(bridges.map((bridge) => bridge.device)),
      gateways: new Set(bridges.map((bridge) => `${bridge.device} ${bridge.gateway}`)),
      peers,
      internal: new Set(bridges.filter((bridge) => bridge.internal).map((bridge) => bridge.device)),
    },
    accepts,
  };
}

/** The smallest change from what is there to what is wanted; undefined when nothing differs. */
export function diffFirewall(actual: FirewallState, desired: FirewallState): FirewallChange | undefined {
  const addAccepts = [...desired.accepts].filter((pair) => !actual.accepts.has(pair));
  const removeAccepts = [...actual.accepts].filter((pair) => !desired.accepts.has(pair));
  const accepts = { addAccepts, removeAccepts };
  const acceptsDiffer = addAccepts.length + removeAccepts.length > 0;
  if (desired.table === 'absent') {
    if (actual.table === 'absent' && !acceptsDiffer) return undefined;
    return { table: actual.table === 'absent' ? 'keep' : 'remove', add: none, remove: none, ...accepts };
  }
  if (actual.table !== 'ok') return { table: 'create', add: desired.sets, remove: none, ...accepts };
  const add = minus(desired.sets, actual.sets);
  const remove = minus(actual.sets, desired.sets);
  const setsDiffer = setNames.some((name) => add[name].size + remove[name].size > 0);
  return setsDiffer || acceptsDiffer ? { table: 'keep', add, remove, ...accepts } : undefined;
}

function minus(a: FirewallSets, b: FirewallSets): FirewallSets {
  return {
    bridges: a.bridges.difference(b.bridges),
    gateways: a.gateways.difference(b.gateways),
    peers: a.peers.difference(b.peers),
    internal: a.internal.difference(b.internal),
  };
}
