import type { FirewallChange, FirewallSets } from '../domain/network/firewall.ts';

/** Chains of the table and how many rules each has: a dump that differs is damaged and written anew. */
export const chainRules: Readonly<Record<string, number>> = { input: 5, forward: 3, same_network: 1 };

const setTypes: Readonly<Record<keyof FirewallSets, string>> = {
  bridges: 'ifname',
  gateways: 'ifname . ipv4_addr',
  peers: 'ifname . ifname',
  internal: 'ifname',
};

/**
 * The whole table. A drop here is final, whatever Docker's chains accept; an accept is not, so what Docker would drop is
 * accepted in DOCKER-USER besides.
 * - input: from a task's bridge into the host, only DNS at the bridge's own gateway (and answers to what the host began).
 * - forward: between bridges only within one network; in and out of an internal network nothing.
 * - same_network: Docker masquerades what leaves a bridge. A translation to itself comes first and keeps the caller's
 *   address between bridges of one network.
 */
function tableText(name: string): string {
  return `table inet ${name} {
${Object.entries(setTypes)
  .map(([set, type]) => `  set ${set} { type ${type}; }`)
  .join('\n')}
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname != @bridges return
    ct state established,related return
    iifname . ip daddr @gateways udp dport 53 return
    iifname . ip daddr @gateways tcp dport 53 return
    drop
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname @bridges oifname @bridges iifname . oifname != @peers drop
    iifname @internal iifname . oifname != @peers drop
    oifname @internal iifname . oifname != @peers drop
  }
  chain same_network {
    type nat hook postrouting priority srcnat - 10; policy accept;
    iifname . oifname @peers snat ip to ip saddr
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

function elements(name: string, verb: 'add' | 'delete', sets: FirewallSets): string {
  return (Object.keys(setTypes) as (keyof FirewallSets)[])
    .filter((set) => sets[set].size > 0)
    .map((set) => `${verb} element inet ${name} ${set} { ${[...sets[set]].map(elementText).join(', ')} }\n`)
    .join('');
}

/** `bt0a bt0b` → `"bt0a" . "bt0b"`; an address stays bare. */
function elementText(element: string): string {
  return element
    .split(' ')
    .map((part) => (/^[\d.]+$/u.test(part) ? part : `"${part}"`))
    .join(' . ');
}
