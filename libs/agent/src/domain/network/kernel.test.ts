import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CarriedNetwork, KernelChange, KernelInput, KernelState } from './kernel.ts';
import { desiredKernel, diffKernel, kernelAfter, networkMtu, routeMetric, routeProtocol } from './kernel.ts';
import { overlayDevice, vtepMac } from './overlay-names.ts';
import { peersOf } from './peers.ts';

const clusterId = 'c1';
const link = { device: 'eth0', mtu: 1500 };
const input = (networks: readonly CarriedNetwork[], over: Partial<KernelInput> = {}): KernelInput => ({
  clusterId,
  address: '198.18.0.11',
  vxlanPort: 7461,
  link,
  networks,
  ...over,
});
const nothing = desiredKernel(input([]));
const peer = (n: number, host: number) => ({
  block: `198.19.${n}.64/26`,
  address: `198.18.0.${host}`,
  vxlanPort: 7461,
});
const network = (n: number, backend: string, peers: CarriedNetwork['peers']): CarriedNetwork => ({
  networkId: `n${n}`,
  backend,
  vni: 5000 + n,
  gateway: `198.19.${n}.1`,
  peers,
});

/** What a kernel would hold after the lines, which it reads as text; throws for a line that it would refuse. */
function applied(before: KernelState, change: KernelChange | undefined): KernelState {
  const devices = new Map(before.devices);
  const neighbours = new Map(before.neighbours);
  const forwards = new Map(before.forwards);
  const routes = new Map(before.routes);
  const mark = ` proto ${routeProtocol} metric ${routeMetric(clusterId)}`;
  const has = (device = '') => {
    if (!devices.has(device)) throw new Error(`Cannot find device "${device}"`);
  };
  const rules: [RegExp, (...args: string[]) => void][] = [
    [
      /^link add (\S+) address (\S+) mtu (\d+) type vxlan id (\d+) local (\S+) dstport (\d+) nolearning$/u,
      (name = '', mac = '', mtu, vni, local = '', port) => {
        if (devices.has(name)) throw new Error('File exists');
        devices.set(name, { vni: Number(vni), mac, local, port: Number(port), mtu: Number(mtu), up: false });
      },
    ],
    [
      /^link del (\S+)$/u,
      (name = '') => {
        has(name);
        devices.delete(name);
        for (const entries of [neighbours, forwards, routes])
          for (const [key, value] of entries) if (`${key} ${value} `.includes(` dev ${name} `)) entries.delete(key);
      },
    ],
    [
      /^link set (\S+) addrgenmode none up$/u,
      (name = '') => {
        has(name);
        devices.set(name, { ...devices.get(name)!, up: true });
      },
    ],
    [
      /^link set (\S+) address (\S+) mtu (\d+) up$/u,
      (name = '', mac = '', mtu) => {
        has(name);
        devices.set(name, { ...devices.get(name)!, mac, mtu: Number(mtu), up: true });
      },
    ],
    [
      /^neigh replace (\S+) lladdr (\S+) dev (\S+) nud permanent$/u,
      (ip, mac = '', name) => {
        has(name);
        neighbours.set(`${ip} dev ${name}`, mac);
      },
    ],
    [/^neigh del (\S+ dev \S+)$/u, (key = '') => void neighbours.delete(key)],
    [/^route del (\S+) proto/u, (block = '') => void routes.delete(block)],
    [
      /^route replace (\S+) (.*? dev (\S+).*) proto/u,
      (block = '', way = '', name) => {
        if (name !== link.device) has(name);
        routes.set(block, way);
      },
    ],
    [/^fdb del (\S+ dev \S+) self$/u, (key = '') => void forwards.delete(key)],
    [
      /^fdb replace (\S+ dev (\S+)) (.*) self permanent$/u,
      (key = '', name, to = '') => {
        has(name);
        forwards.set(key, to);
      },
    ],
  ];
  for (const line of [...(change?.ip ?? []), ...(change?.bridge ?? [])]) {
    const rule = rules.find(([pattern]) => pattern.test(line));
    if (!rule) throw new Error(`not understood: ${line}`);
    if (line.startsWith('route')) expect(line.endsWith(mark)).toBe(true);
    rule[1](...(rule[0].exec(line) ?? []).slice(1));
  }
  return { devices, neighbours, forwards, routes };
}

const networksOf = fc
  .uniqueArray(
    fc.record({
      n: fc.nat(5),
      backend: fc.constantFrom('vxlan', 'host-gw'),
      hosts: fc.uniqueArray(fc.integer({ min: 12, max: 15 })),
    }),
    { selector: ({ n }) => n },
  )
  .map((list) =>
    list.map(({ n, backend, hosts }) =>
      network(
        n,
        backend,
        hosts.map((host) => ({ ...peer(n, host), block: `198.19.${n}.${(host - 11) * 32}/27` })),
      ),
    ),
  );

describe('what the kernel is to hold', () => {
  it('is a device, a neighbour, a forwarding entry and a route with VXLAN, and a route with host-gw', () => {
    const device = overlayDevice(clusterId, 5001);
    expect(device).toMatch(/^bx[0-9a-f]{5}001389$/u);
    const wanted = desiredKernel(input([network(1, 'vxlan', [peer(1, 12)]), network(2, 'host-gw', [peer(2, 12)])]));
    expect([...wanted.devices]).toEqual([
      [device, { vni: 5001, mac: 'be:72:c6:12:00:0b', local: '198.18.0.11', port: 7461, mtu: 1450, up: true }],
    ]);
    expect([...wanted.neighbours]).toEqual([[`198.18.0.12 dev ${device}`, 'be:72:c6:12:00:0c']]);
    expect([...wanted.forwards]).toEqual([[`be:72:c6:12:00:0c dev ${device}`, 'dst 198.18.0.12 port 7461']]);
    expect([...wanted.routes]).toEqual([
      ['198.19.1.64/26', `via 198.18.0.12 dev ${device} src 198.19.1.1 onlink`],
      ['198.19.2.64/26', 'via 198.18.0.12 dev eth0 src 198.19.2.1'],
    ]);
  });

  it('is nothing without peers, and no route by a link that is not known', () => {
    expect(desiredKernel(input([network(1, 'vxlan', []), network(2, 'vxlan', undefined)]))).toEqual(nothing);
    expect(desiredKernel(input([network(1, 'host-gw', [peer(1, 12)])], { link: undefined }))).toEqual(nothing);
  });

  it('a diff brings any state to the wanted one, in an order that a kernel takes, and then nothing is left to do', () => {
    fc.assert(
      fc.property(networksOf, networksOf, fc.boolean(), (first, second, moved) => {
        const before = desiredKernel(input(first, moved ? { address: '198.18.0.99', vxlanPort: 7000 } : {}));
        const whole = { clusterId, networks: second };
        const wanted = desiredKernel(input(second));
        const after = applied(before, diffKernel(before, wanted, whole));
        expect(after).toEqual(wanted);
        expect(diffKernel(after, wanted, whole)).toBeUndefined();
        expect(kernelAfter(before, wanted, whole)).toEqual(wanted);
      }),
    );
  });

  it('makes a device fit, or makes it anew with all that hangs on it', () => {
    const networks = [network(1, 'vxlan', [peer(1, 12)])];
    const wanted = desiredKernel(input(networks));
    const [[name, device]] = [...wanted.devices] as [[string, NonNullable<ReturnType<typeof wanted.devices.get>>]];
    for (const wrong of [{ mtu: 1400 }, { up: false }, { mac: 'be:72:00:00:00:00' }, { port: 1 }, { vni: 9 }]) {
      const actual = { ...wanted, devices: new Map([[name, { ...device, ...wrong }]]) };
      const change = diffKernel(actual, wanted, { clusterId, networks });
      expect(applied(actual, change)).toEqual(wanted);
      expect(change?.ip.some((line) => line.startsWith('link del'))).toBe('port' in wrong || 'vni' in wrong);
    }
  });

  it('removes nothing while the peers of a network are not known', () => {
    const before = desiredKernel(input([network(1, 'vxlan', [peer(1, 12)]), network(2, 'host-gw', [peer(2, 12)])]));
    const networks = [network(1, 'vxlan', undefined), network(3, 'host-gw', [peer(3, 13)])];
    const change = diffKernel(before, desiredKernel(input(networks)), { clusterId, networks });
    const metric = routeMetric(clusterId);
    expect(change).toEqual({
      ip: [`route replace 198.19.3.64/26 via 198.18.0.13 dev eth0 src 198.19.3.1 proto 116 metric ${metric}`],
      bridge: [],
    });
    expect(applied(before, change)).toEqual(kernelAfter(before, desiredKernel(input(networks)), { networks }));
  });

  it('leaves room for what VXLAN adds; loopback says nothing about what lies behind it', () => {
    expect(networkMtu('vxlan', { device: 'eth0', mtu: 9000 })).toBe(8950);
    expect(networkMtu('host-gw', { device: 'eth0', mtu: 9000 })).toBe(9000);
    expect(networkMtu('vxlan', { device: 'lo', mtu: 65_536 })).toBe(1450);
    expect(networkMtu('host-gw', undefined)).toBe(1500);
  });

  it('names MACs by addresses, unicast and locally administered', () => {
    expect(vtepMac('198.18.0.11')).toBe('be:72:c6:12:00:0b');
    expect(Number.parseInt(vtepMac('10.0.0.1').slice(0, 2), 16) & 3).toBe(2);
    expect(() => vtepMac('host')).toThrow(/not an IPv4 address/u);
  });

  it('peers are the leases of others that say where they are', () => {
    const lease = (block: string, address: string) => ({
      networkId: 'n',
      nodeId: 'x',
      id: '',
      block,
      address,
      vxlanPort: 1,
    });
    const leases = [lease('b', '198.18.0.12'), lease('a', '198.18.0.12'), lease('c', ''), lease('d', '198.18.0.11')];
    const own = new Set(['a']);
    expect(peersOf(leases, '198.18.0.11', own)).toEqual([{ block: 'b', address: '198.18.0.12', vxlanPort: 1 }]);
  });
});
