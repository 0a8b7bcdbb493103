import { execute, run } from './exec.ts';

/** Nothing of a lab is created in, routed through or filtered in the machine's own network namespace. */
export const lanMtu = 1500;

export function inNetwork(namespace: string): string[] {
  return ['nsenter', `--net=/run/netns/${namespace}`, '--'];
}

/** The switch: a bridge in a namespace of its own, with the rules by which cables are cut. */
export async function createSwitch(namespace: string): Promise<void> {
  await run(['ip', 'netns', 'add', namespace]);
  // Frames between ports must not run through iptables of this namespace.
  await run([
    ...inNetwork(namespace),
    ...['sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0', 'net.bridge.bridge-nf-call-ip6tables=0'],
    ...['net.bridge.bridge-nf-call-arptables=0', 'net.ipv6.conf.all.disable_ipv6=1'],
    ...['net.ipv6.conf.default.disable_ipv6=1'],
  ]);
  await run(['ip', '-n', namespace, '-batch', '-'], {
    stdin: [
      'link set lo up',
      `link add br-lan mtu ${lanMtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      'link set br-lan up\n',
    ].join('\n'),
  });
  await run([...inNetwork(namespace), 'nft', '-f', '-'], { stdin: switchRules });
}

const switchRules = `
table bridge lab {
  set mute { type ifname; }
  set deaf { type ifname; }
  set pairs { type ifname . ifname; }
  set ports { type ifname . ifname . inet_service; }
  set answers { type ifname . ifname . inet_service; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname @mute drop
    oifname @deaf drop
    iifname . oifname @pairs drop
    iifname . oifname . tcp dport @ports drop
    iifname . oifname . tcp sport @answers drop
  }
}
`;

export interface Cable {
  /** Namespace of the switch. */
  readonly lan: string;
  /** Namespace to make at the other end. */
  readonly namespace: string;
  /** Name of the switch's port. */
  readonly port: string;
  readonly address: string;
}

/** A new namespace with one cable to the switch, an address of the lab's /24, and no default route. */
export async function plugIn({ lan, namespace, port, address }: Cable): Promise<void> {
  await run(['ip', 'netns', 'add', namespace]);
  // Both ends are born where they belong, so the machine's own namespace never sees them.
  await run([
    ...['ip', 'link', 'add', 'eth0', 'address', macOf(address), 'netns', namespace, 'mtu', `${lanMtu}`],
    ...['type', 'veth', 'peer', 'name', port, 'netns', lan, 'mtu', `${lanMtu}`],
  ]);
  // A new namespace inherits the machine's forwarding; an engine sets FORWARD DROP only where it turned it on itself.
  await run([
    ...inNetwork(namespace),
    ...['sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'],
    'net.ipv4.ip_forward=0',
  ]);
  await run(['ip', '-n', namespace, '-batch', '-'], {
    stdin: `link set lo up\naddr add ${address}/24 brd + dev eth0\nlink set eth0 up\n`,
  });
  await run(['ip', '-n', lan, 'link', 'set', port, 'master', 'br-lan', 'up']);
}

export async function unplug({ lan, namespace, port }: Omit<Cable, 'address'>): Promise<void> {
  await execute(['ip', '-n', lan, 'link', 'del', port]);
  await removeNamespace(namespace);
}

export async function removeNamespace(namespace: string): Promise<void> {
  const { code, stderr } = await execute(['ip', 'netns', 'del', namespace]);
  if (code !== 0 && !stderr.includes('No such file')) throw new Error(`ip netns del ${namespace}: ${stderr.trim()}`);
}

/** Fixed by the address: a host that is powered on again would else be unknown to its peers until ARP expires. */
function macOf(address: string): string {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return ['02', 'ab', ...bytes].join(':');
}
