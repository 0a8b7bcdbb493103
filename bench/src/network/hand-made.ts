import type { Host } from '@berth/testing-hosts';
import { EngineApi } from '../engine-api.ts';
import type { Path } from './path.ts';
import { pathBetween } from './path.ts';

const pools = { vxlan: '198.18.144', 'host-gw': '198.18.145' } as const;
const vni = 7;
const vxlanPort = 8472;

/** What an administrator would type: a Docker bridge a host, routes between them by VXLAN or through the other host. */
export async function handMade(hosts: readonly Host[], backend: keyof typeof pools): Promise<Path> {
  const [a, b] = hosts;
  if (!a || !b) throw new Error('two hosts are needed');
  await Promise.all([one(a, b, 0, backend), one(b, a, 1, backend)]);
  return pathBetween(`hand-made ${backend}`, hosts, `bench.hand-made=${backend}`);
}

async function one(host: Host, other: Host, index: number, backend: keyof typeof pools): Promise<void> {
  const vxlan = backend === 'vxlan';
  const bridge = vxlan ? 'hand-vx' : 'hand-gw';
  const subnet = (i: number): string => `${pools[backend]}.${i * 128}/25`;
  const mac = (i: number): string => `0a:76:00:00:00:0${i + 1}`;
  const api = new EngineApi(host.socket);
  await api.call('POST', '/networks/create', {
    Name: bridge,
    Driver: 'bridge',
    IPAM: { Config: [{ Subnet: subnet(index) }] },
    Options: {
      'com.docker.network.bridge.name': bridge,
      'com.docker.network.bridge.enable_ip_masquerade': 'false',
      'com.docker.network.driver.mtu': vxlan ? '1450' : '1500',
    },
  });
  const there = subnet(1 - index);
  const commands = vxlan
    ? [
        `ip link add hand0 address ${mac(index)} mtu 1450 type vxlan id ${vni} dev eth0 local ${host.address} dstport ${vxlanPort} nolearning`,
        'ip link set hand0 up',
        `ip neigh replace 198.18.146.1 lladdr ${mac(1 - index)} dev hand0 nud permanent`,
        `bridge fdb replace ${mac(1 - index)} dev hand0 dst ${other.address} self permanent`,
        `ip route replace ${there} via 198.18.146.1 dev hand0 onlink`,
        `iptables -I DOCKER-USER -i hand0 -o ${bridge} -j ACCEPT`,
      ]
    : [
        `ip route replace ${there} via ${other.address} dev eth0`,
        `iptables -I DOCKER-USER -i eth0 -o ${bridge} -s ${there} -j ACCEPT`,
      ];
  for (const command of commands) await host.exec(command.split(' '));
  const { Id } = await api.call<{ Id: string }>('POST', '/containers/create', {
    Image: 'busybox:latest',
    Cmd: ['sleep', '100000'],
    StopSignal: 'SIGKILL',
    Labels: { 'bench.hand-made': backend },
    HostConfig: { NetworkMode: bridge },
  });
  await api.call('POST', `/containers/${Id}/start`);
}
