import type { FirewallChange, FirewallSetName, FirewallSets } from '../domain/network/firewall.ts';
import { firewallSetNames } from '../domain/network/firewall.ts';

/** Bit that marks, from our forward chain to Docker's, what goes on within one network. */
export const acceptMark = '0x4000000';

/** Chains of the table and how many rules each has: a dump that differs is damaged and written anew. */
export const chainRules: Readonly<Record<string, number>> = {
  prerouting: 2,
  input: 6,
  within: 2,
  forward: 13,
  postrouting: 4,
};

const setTypes: Readonly<Record<FirewallSetName, string>> = {
  bridges: 'type ifname;',
  gateways: 'type ifname . ipv4_addr;',
  peers: 'type ifname . ifname;',
  internal: 'type ifname;',
  overlays: 'type ifname;',
  sources: 'type ifname . ipv4_addr; flags interval;',
  remote: 'type ifname . ifname . ipv4_addr; flags interval;',
  members: 'type ipv4_addr . ipv4_addr; flags interval;',
  translate: 'type ipv4_addr . ipv4_addr : ipv4_addr; flags interval;',
  pool: 'type ipv4_addr; flags interval;',
  nodes: 'type ipv4_addr;',
  ports: 'type inet_service;',
};

/**
 * The whole table. A drop here is final, whatever Docker's chains accept; an accept is not, so what Docker would drop is
 * marked, and one rule in DOCKER-USER accepts the mark.
 * - prerouting: by a bridge or VXLAN device come only the addresses that live behind it, before anything believes them.
 * - input: from a network into the host, only DNS at a bridge's own gateway (and answers to what the host began).
 * - forward: within one network, and answers to what was let through; else nothing between networks, into and out of an
 *   internal one, into the pool by another way, or to the ports of Berth's parts on other hosts.
 * - postrouting: Docker masquerades what leaves a bridge. A translation to itself comes first and keeps the caller's
 *   address within the network; where a container on several networks called by its default route, it is the address
 *   that it has on the called one.
 */
function tableText(name: string): string {
  return `table inet ${name} {
${firewallSetNames.map((set) => `  ${setKind(set)} ${set} { ${setTypes[set]} }`).join('\n')}
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    iifname @bridges iifname . ip saddr != @sources drop
    iifname @overlays iifname . ip saddr != @sources drop
  }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    ct state established,related return
    iifname . ip daddr @gateways udp dport 53 return
    iifname . ip daddr @gateways tcp dport 53 return
    iifname @bridges drop
    iifname @overlays drop
    iifname != "lo" ip saddr @pool drop
  }
  chain within {
    meta mark set meta mark | ${acceptMark}
    accept
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname . oifname @peers goto within
    iifname . oifname . ip daddr @remote goto within
    oifname . iifname . ip saddr @remote goto within
    iifname @bridges ip saddr . ip daddr @members goto within
    ip saddr @pool ip daddr @pool ct state established ct direction reply goto within
    iifname @overlays drop
    oifname @overlays drop
    iifname @bridges oifname @bridges drop
    iifname @internal drop
    oifname @internal drop
    iifname @bridges ip daddr @pool drop
    oifname @bridges ip saddr @pool drop
    iifname @bridges ip daddr @nodes meta l4proto { tcp, udp } th dport @ports drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat - 10; policy accept;
    snat ip to ip saddr . ip daddr map @translate
    iifname . oifname @peers snat ip to ip saddr
    iifname . oifname . ip daddr @remote snat ip to ip saddr
    oifname @overlays snat ip to ip saddr
  }
}
`;
}

/** One nft script (applied as one transaction) for a change of the table. */
export function nftScript(name: string, change: FirewallChange): string {
  if (change.table === 'remove') return `delete table inet ${name}\n`;
  const whole = change.table === 'create' ? `table inet ${name}\ndelete table inet ${name}\n${tableText(name)}` : '';
  return whole + elements(name, 'delete', change.remove) + elements(name, 'add', change.add);
}

function elements(table: string, verb: 'add' | 'delete', sets: FirewallSets): string {
  return firewallSetNames
    .filter((set) => sets[set].size > 0)
    .map(
      (set) =>
        `${verb} element inet ${table} ${set} { ${[...sets[set]].map((e) => elementText(set, e)).join(', ')} }\n`,
    )
    .join('');
}

/** `bt0a 198.19.0.0/26` → `"bt0a" . 198.19.0.0/26`; addresses and ports stay bare, a map's last part follows a colon. */
function elementText(set: FirewallSetName, element: string): string {
  const parts = element.split(' ').map((part) => (/^[\d./]+$/u.test(part) ? part : `"${part}"`));
  const value = setKind(set) === 'map' ? parts.pop() : undefined;
  return parts.join(' . ') + (value === undefined ? '' : ` : ${value}`);
}

function setKind(set: FirewallSetName): 'set' | 'map' {
  return setTypes[set].includes(' : ') ? 'map' : 'set';
}
