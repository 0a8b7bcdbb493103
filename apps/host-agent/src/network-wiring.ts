import type { DockerNetworks, TaskNetwork } from '@berth/agent';
import { BridgeTaskNetwork, DnsServer, DnsTable, HostFirewall } from '@berth/agent';
import { rpc } from '@berth/contracts';
import type { RpcDialer } from '@berth/kernel';
import type { Base } from './base.ts';
import { hostNameServers } from './host-facts.ts';

/** Networks of this node's tasks: bridges, rules and names. */
export function wireNetwork(
  base: Base,
  host: { readonly clusterId: string; readonly dialer: RpcDialer; readonly engine: DockerNetworks },
): { readonly taskNetwork: TaskNetwork; live(nodeId: string): void } {
  const { clock, log, members, config, lives, signal } = base;
  const dns = new DnsTable();
  const nameServer = new DnsServer({
    table: dns,
    log,
    upstreams: () => hostNameServers([config.resolvConf, '/etc/resolv.conf']),
  });
  const taskNetwork = new BridgeTaskNetwork({
    client: host.dialer.client(rpc.network, members.target('network-manager')),
    engine: host.engine,
    firewall: new HostFirewall({ clusterId: host.clusterId }),
    nameServer,
    dns,
    clock,
    log,
    onNetworks: () => {},
  });
  lives.add(taskNetwork.run(signal));
  return { taskNetwork, live: () => {} };
}
