import { isIPv4 } from 'node:net';
import type { DockerNetworks, TaskNetwork } from '@berth/agent';
import {
  BridgeTaskNetwork,
  DnsServer,
  DnsTable,
  EndpointCache,
  HostFirewall,
  HostKernelNetwork,
  HostNetwork,
  PeerCache,
} from '@berth/agent';
import { ScopeReader } from '@berth/changes';
import { rpc } from '@berth/contracts';
import { Change as NetworkChange } from '@berth/contracts/network';
import { Change } from '@berth/contracts/registry';
import { connectNats } from '@berth/events-nats';
import type { RpcDialer } from '@berth/kernel';
import { dnsNameOf, onAbort } from '@berth/kernel';
import type { TlsSource } from '@berth/rpc';
import { networkScope } from '@berth/workload';
import type { Base } from './base.ts';
import { hostNameServers } from './host-facts.ts';

const registry = 'registry';
const network = 'network';
const nats = { role: 'service', name: 'nats' } as const;

/** Networks of this node's tasks: bridges, rules and names. */
export async function wireNetwork(
  base: Base,
  host: {
    readonly clusterId: string;
    /** Address at which others reach this host. */
    readonly advertise: string;
    readonly dialer: RpcDialer;
    readonly engine: DockerNetworks;
    readonly tls: TlsSource;
  },
): Promise<{ readonly taskNetwork: TaskNetwork; live(nodeId: string): void; settled(): Promise<void> }> {
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
  const common = { bus, clock, rng, log };
  const endpointReader = new ScopeReader<Change>({
    ...common,
    owner: registry,
    fromJson: (json) => Change.fromJSON(json),
    changes: (scope, since) => catalog.changes({ scope, since }),
    compareHeads: async (heads, since) => (await catalog.compareHeads({ heads: [...heads], since })).heads,
    onStep: (scope, step) => endpoints.apply(networkOf(scope), step),
  });

  // Ways to other hosts: who holds which block, in the same manner.
  const manager = host.dialer.client(rpc.network, members.target('network-manager'));
  const peers = new PeerCache({ disk, clock, log, onChange: () => taskNetwork.peersChanged() });
  await peers.load();
  lives.add(peers.run(signal));
  const peerReader = new ScopeReader<NetworkChange>({
    ...common,
    owner: network,
    fromJson: (json) => NetworkChange.fromJSON(json),
    changes: (scope, since) => manager.changes({ scope, since }),
    compareHeads: async (heads, since) => (await manager.compareHeads({ heads: [...heads], since })).heads,
    onStep: (scope, step) => peers.apply(networkOf(scope), step),
  });
  const followed = [
    { reader: endpointReader, cache: endpoints },
    { reader: peerReader, cache: peers },
  ] as const;
  const follow = (networkIds: ReadonlySet<string>): void => {
    const scopes = new Set([...networkIds].map(networkScope));
    for (const { reader, cache } of followed) {
      for (const scope of reader.scopes) if (!scopes.has(scope)) reader.remove(scope);
      for (const networkId of networkIds) reader.add(networkScope(networkId), cache.revisionOf(networkId));
      cache.keep(networkIds);
    }
  };

  const address = { address: host.advertise, vxlanPort: config.vxlanPort };
  const taskNetwork = new BridgeTaskNetwork({
    client: manager,
    engine: host.engine,
    host: new HostNetwork({
      clusterId: host.clusterId,
      host: address,
      kernel: new HostKernelNetwork({ clusterId: host.clusterId, address: host.advertise }),
      firewall: new HostFirewall({ clusterId: host.clusterId }),
      nameServer,
      log,
      leasesOf: (networkId) => peers.leasesOf(networkId),
      parts: () => partsOf(base),
    }),
    address,
    nameServer,
    dns,
    clock,
    log,
    onNetworks: follow,
  });
  members.onChange(() => taskNetwork.peersChanged());
  lives.add(taskNetwork.run(signal));
  return {
    taskNetwork,
    settled: () => taskNetwork.settled(signal),
    live: () => {
      for (const { reader } of followed) lives.add(reader.run(signal));
      onAbort(signal, () => lives.add(bus.close()));
    },
  };
}

/** Hosts of the cluster, and the ports of its parts: those that the member list names, and those that this host gives to
 *  its own, which are the same on all hosts unless somebody has set them. */
function partsOf({ members, config }: Base): { addresses: string[]; ports: number[] } {
  const named = members.members.flatMap(({ address }) => {
    const at = address.lastIndexOf(':');
    const [ip, port] = [address.slice(0, at), Number(address.slice(at + 1))];
    return isIPv4(ip) && Number.isInteger(port) ? [{ ip, port }] : [];
  });
  const ports = Object.entries(config).flatMap(([key, value]) =>
    key.endsWith('Port') && typeof value === 'number' ? [value] : [],
  );
  return {
    addresses: [...new Set(named.map(({ ip }) => ip))],
    ports: [...new Set([...ports, ...named.map(({ port }) => port)])],
  };
}

/** `network.<id>` → id. */
function networkOf(scope: string): string {
  return scope.slice(scope.indexOf('.') + 1);
}
