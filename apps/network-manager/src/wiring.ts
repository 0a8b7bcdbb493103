import { hostname } from 'node:os';
import { onlyKinds, Publisher, RemoteMirror } from '@berth/changes';
import { helloOf, rpc } from '@berth/contracts';
import { Change } from '@berth/contracts/network';
import type { Change as RegistryChange } from '@berth/contracts/registry';
import type { Change as SchedulerChange } from '@berth/contracts/scheduler';
import { ClusterSettings } from '@berth/contracts/workload';
import { Admission, Membership } from '@berth/discovery';
import { connectNats } from '@berth/events-nats';
import type { Logger, Store } from '@berth/kernel';
import { awaitCluster, BerthError, dnsNameOf, metaKeys, newId } from '@berth/kernel';
import { NetworkHandlers, NetworkManager, NetworkTables, networkOwner } from '@berth/network';
import type { Running } from '@berth/process';
import { createMetrics, gaugesIn, rpcMetrics, SystemClock, SystemRng, startHttp } from '@berth/process';
import { bind, createDialer, fileTls, startServer } from '@berth/rpc';
import { connectEtcd } from '@berth/store-etcd';
import type { NetworkSettings } from '@berth/workload';
import { networkSettings } from '@berth/workload';
import type { Config } from './config.ts';

/** Time that unary calls get to end when the process stops. */
const graceMs = 3_000;

/** Puts the network-manager together. */
export async function start(config: Config, baseLogger: Logger, stopping: AbortSignal): Promise<Running> {
  const clock = new SystemClock();
  const rng = new SystemRng();
  const instance = newId(rng);
  const logger = baseLogger.child({ replica: instance });
  const metrics = createMetrics('network-manager');
  const abort = new AbortController();
  const signal = AbortSignal.any([abort.signal, stopping]);

  // What is missing until the process serves; asked by /readyz from the first moment on.
  let missing: () => true | string = () => 'the store has not answered yet';
  const http = await startHttp({
    address: `127.0.0.1:${config.httpPort}`,
    ready: () => missing(),
    registry: metrics,
    logger,
  });

  // Truth.
  const etcdTls = fileTls(config.etcdCerts, { clock, logger });
  const store = connectEtcd({
    endpoints: config.etcdEndpoints,
    tls: etcdTls,
    // A name that every etcd of the cluster has in its certificate, whatever its address.
    serverName: 'localhost',
    clock,
    rng,
    logger,
  });
  const clusterId = await awaitCluster(store, clock, logger, signal);
  const settings = await readSettings(store);

  // Others, found by the registry's member list.
  const tls = fileTls(config.certs, { clock, logger });
  const dialer = createDialer({ tls, clock, rng, logger });
  let membership: Membership | undefined;
  const registry = {
    identity: { role: 'service', name: 'registry' },
    addresses: () => [
      ...new Set([...config.registryAddresses, ...(membership?.addressesOf('service:registry') ?? [])]),
    ],
  } as const;
  const grpcAddress = `${config.advertise}:${config.grpcPort}`;
  const members = new Membership({
    client: dialer.client(rpc.presence, registry),
    clusterId,
    member: {
      identity: 'service:network-manager',
      instance,
      address: grpcAddress,
      hostname: config.hostname || hostname(),
      version: config.version,
    },
    clock,
    rng,
    log: logger,
  });
  membership = members;
  const control = dialer.client(rpc.control, {
    identity: { role: 'service', name: 'scheduler' },
    addresses: () => members.addressesOf('service:scheduler'),
  });
  const scheduler = new RemoteMirror<SchedulerChange>();
  const catalog = dialer.client(rpc.catalog, registry);
  // Nodes, and who was revoked.
  const nodes = new RemoteMirror<RegistryChange>();

  // What is served.
  const manager = new NetworkManager({ store, clock, rng, log: logger, settings, scheduler, registry: nodes });
  const server = await startServer({
    address: grpcAddress,
    access: { kind: 'mtls', tls },
    services: [bind(rpc.network, new NetworkHandlers({ manager, store, clock, rng, settings, clusterId }))],
    admission: new Admission(nodes),
    logger,
    observer: rpcMetrics(metrics),
    ready: () => manager.feed.synced,
  });
  missing = () => {
    if (!manager.feed.synced) return 'the mirror of the store is not synced';
    return manager.synced || 'the mirror of the scheduler is not synced';
  };
  watchGauges(metrics, manager);

  // What is told to all.
  const bus = connectNats({
    servers: () => config.natsUrls.map((url) => new URL(url).host),
    tls: () => tls.current(),
    serverName: dnsNameOf({ role: 'service', name: 'nats' }),
    name: `network-manager ${instance}`,
    clock,
    rng,
    logger,
  });
  const publisher = new Publisher({
    owner: networkOwner,
    store,
    bus,
    view: () => new NetworkTables(),
    toJson: Change.toJSON,
    candidate: instance,
    clock,
    log: logger,
  });

  const hello = helloOf(clusterId, config.version);
  const following = { clock, rng, log: logger, signal };
  const done = Promise.all([
    manager.run(signal),
    publisher.run(signal),
    members.run(signal),
    scheduler.run({
      ...following,
      call: (since, ended) => onlyKinds(control.watch({ hello, since, scopes: [] }, { signal: ended }), ['stack']),
    }),
    nodes.run({
      ...following,
      call: (since, ended) =>
        onlyKinds(catalog.watch({ hello, since, scopes: [] }, { signal: ended }), ['node', 'revocation']),
    }),
  ]).then(() => undefined);

  return {
    done,
    stop: async () => {
      await server.stop(graceMs);
      abort.abort();
      await done;
      await bus.close();
      dialer.close();
      tls.close();
      store.close();
      etcdTls.close();
      await http.close();
    },
  };
}

/** What `cluster init` fixed. */
async function readSettings(store: Store): Promise<NetworkSettings> {
  const { entry } = await store.get(metaKeys.settings);
  if (!entry) {
    throw new BerthError('FailedPrecondition', `the store has no ${metaKeys.settings}`, { reason: 'NOT_BOOTSTRAPPED' });
  }
  const { networkPool, rangePrefix, blockPrefix } = ClusterSettings.decode(entry.value);
  return networkSettings({ pool: networkPool, rangePrefix, blockPrefix });
}

function watchGauges(metrics: ReturnType<typeof createMetrics>, manager: NetworkManager): void {
  const gauge = gaugesIn(metrics);
  gauge('berth_network_networks', 'Networks, deleting ones too.', () => manager.tables.networks.size);
  gauge('berth_network_leases', 'Blocks that nodes hold.', () => manager.tables.allLeases().length);
  gauge('berth_network_range_units', 'Units of the address pool that are taken.', () => manager.tables.takenUnits.size);
}
