import type { DockerNetworks, TaskNetwork } from '@berth/agent';
import { BridgeTaskNetwork, DnsServer, DnsTable, EndpointCache, HostFirewall } from '@berth/agent';
import { ScopeReader } from '@berth/changes';
import { rpc } from '@berth/contracts';
import { Change } from '@berth/contracts/registry';
import { connectNats } from '@berth/events-nats';
import type { RpcDialer } from '@berth/kernel';
import { dnsNameOf } from '@berth/kernel';
import type { TlsSource } from '@berth/rpc';
import { networkScope } from '@berth/workload';
import type { Base } from './base.ts';
import { hostNameServers } from './host-facts.ts';

const registry = 'registry';
const nats = { role: 'service', name: 'nats' } as const;

/** Networks of this node's tasks: bridges, rules and names. */
export async function wireNetwork(
  base: Base,
  host: {
    readonly clusterId: string;
    readonly dialer: RpcDialer;
    readonly engine: DockerNetworks;
    readonly tls: TlsSource;
  },
): Promise<{ readonly taskNetwork: TaskNetwork; live(nodeId: string): void }> {
  const { clock, log, rng, members, config, lives, signal, disk } = base;
  const dns = new DnsTable();
  const nameServer = new DnsServer({
    table: dns,
    log,
    upstreams: () => hostNameServers([config.resolvConf, '/etc/resolv.conf']),
  });

  // Names: what the registry last said, from disk at once, then by events.
  const endpoints = new EndpointCache({ dns, disk, clock, log });
  await endpoints.load();
  lives.add(endpoints.run(signal));
  const catalog = host.dialer.client(rpc.catalog, members.target(registry));
  const bus = connectNats({
    servers: () => members.addressesOf(nats),
    tls: () => host.tls.current(),
    serverName: dnsNameOf(nats),
    name: 'host-agent',
    clock,
    rng,
    logger: log,
  });
  const reader = new ScopeReader<Change>({
    owner: registry,
    bus,
    clock,
    rng,
    log,
    fromJson: (json) => Change.fromJSON(json),
    changes: (scope, since) => catalog.changes({ scope, since }),
    compareHeads: async (heads, since) => (await catalog.compareHeads({ heads: [...heads], since })).heads,
    onStep: (scope, step) => endpoints.apply(networkOf(scope), step),
  });
  const follow = (networkIds: ReadonlySet<string>): void => {
    const scopes = new Set([...networkIds].map(networkScope));
    for (const scope of reader.scopes) if (!scopes.has(scope)) reader.remove(scope);
    for (const networkId of networkIds) reader.add(networkScope(networkId), endpoints.revisionOf(networkId));
    endpoints.keep(networkIds);
  };

  const taskNetwork = new BridgeTaskNetwork({
    client: host.dialer.client(rpc.network, members.target('network-manager')),
    engine: host.engine,
    firewall: new HostFirewall({ clusterId: host.clusterId }),
    nameServer,
    dns,
    clock,
    log,
    onNetworks: follow,
  });
  lives.add(taskNetwork.run(signal));
  return {
    taskNetwork,
    live: () => {
      lives.add(reader.run(signal));
      signal.addEventListener('abort', () => void bus.close());
    },
  };
}

/** `network.<id>` → id. */
function networkOf(scope: string): string {
  return scope.slice(scope.indexOf('.') + 1);
}
