import { hostname } from 'node:os';
import { onlyKinds, Publisher, RemoteMirror } from '@berth/changes';
import { helloOf, rpc } from '@berth/contracts';
import type { Change as NetworkChange } from '@berth/contracts/network';
import type { Member } from '@berth/contracts/registry';
import { Change } from '@berth/contracts/registry';
import type { Change as SchedulerChange } from '@berth/contracts/scheduler';
import type { CertificateTools } from '@berth/discovery';
import {
  Admission,
  CaRotation,
  CatalogHandlers,
  CertificateHandlers,
  CertificateIssuer,
  JoinHandlers,
  NodeHandlers,
  PresenceHandlers,
  Registry,
  RegistryView,
  registryOwner,
} from '@berth/discovery';
import { connectNats } from '@berth/events-nats';
import {
  caDigest,
  csrKeySha256,
  formatJoinToken,
  hashTokenSecret,
  newTokenSecret,
  readCertificate,
  tokenSecretMatches,
  trustDigest,
} from '@berth/identity';
import type { Logger, Rng } from '@berth/kernel';
import { awaitCluster, dnsNameOf, newId } from '@berth/kernel';
import type { Running } from '@berth/process';
import { createMetrics, gaugesIn, rpcMetrics, SystemClock, SystemRng, startHttp } from '@berth/process';
import type { TlsSource } from '@berth/rpc';
import { bind, createDialer, fileTls, startServer } from '@berth/rpc';
import { connectEtcd } from '@berth/store-etcd';
import { agentProber } from './agent-prober.ts';
import type { Config } from './config.ts';

/** Time that unary calls get to end when the process stops. */
const graceMs = 3_000;

/** Puts the registry together. */
export async function start(config: Config, baseLogger: Logger, stopping: AbortSignal): Promise<Running> {
  const clock = new SystemClock();
  const rng = new SystemRng();
  const replica = newId(rng);
  const logger = baseLogger.child({ replica });
  const metrics = createMetrics('registry');
  const observer = rpcMetrics(metrics);
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

  // Others.
  const tls = fileTls(config.certs, { clock, logger });
  const dialer = createDialer({ tls, clock, rng, logger });
  const scheduler = new RemoteMirror<SchedulerChange>();
  const networks = new RemoteMirror<NetworkChange>();
  const registry = new Registry({
    store,
    clock,
    rng,
    log: logger,
    prober: agentProber(dialer),
    caSha256: () => trustDigest(tls.current().ca),
    replica,
    scheduler,
    networks,
  });
  const control = dialer.client(rpc.control, {
    identity: { role: 'service', name: 'scheduler' },
    addresses: () => addressesOf(registry, 'service:scheduler'),
  });
  const networkManager = dialer.client(rpc.network, {
    identity: { role: 'service', name: 'network-manager' },
    addresses: () => addressesOf(registry, 'service:network-manager'),
  });
  const signer = dialer.client(rpc.signing, {
    identity: { role: 'service', name: 'signer' },
    addresses: () => config.signerAddresses,
  });

  // What is served.
  const tools = certificateTools(tls, rng);
  const issuer = new CertificateIssuer({ signer, tools, clock, store, view: registry.view });
  const presence = new PresenceHandlers({ registry, store, clock, log: logger, clusterId });
  const catalog = new CatalogHandlers({ registry, clusterId });
  const nodes = new NodeHandlers({ registry, store, clock, log: logger });
  const rotation = new CaRotation({ registry, signer, tools, store, clock, log: logger });
  const certificates = new CertificateHandlers({ registry, issuer, rotation, tools, store, clock, log: logger });
  const joining = new JoinHandlers({ registry, issuer, tools, store, clock, rng, log: logger, clusterId });
  const server = await startServer({
    address: `${config.advertise}:${config.grpcPort}`,
    access: { kind: 'mtls', tls },
    services: [
      bind(rpc.presence, presence),
      bind(rpc.catalog, catalog),
      bind(rpc.node, nodes),
      bind(rpc.certificate, certificates),
    ],
    admission: new Admission(registry.feed),
    logger,
    observer,
    ready: () => registry.feed.synced,
  });
  const joinServer = await startServer({
    address: `${config.advertise}:${config.joinPort}`,
    access: { kind: 'join', tls },
    services: [bind(rpc.join, joining)],
    logger,
    observer,
  });
  missing = () => {
    if (!registry.feed.synced) return 'the mirror of the store is not synced';
    return registry.synced || 'the mirror of the scheduler is not synced';
  };
  watchGauges(metrics, registry);
  tls.onChange(() => registry.board.touch());

  // What is told to all.
  const bus = connectNats({
    servers: () => config.natsUrls.map((url) => new URL(url).host),
    tls: () => tls.current(),
    serverName: dnsNameOf({ role: 'service', name: 'nats' }),
    name: `registry ${replica}`,
    clock,
    rng,
    logger,
  });
  const publisher = new Publisher({
    owner: registryOwner,
    store,
    bus,
    view: () => new RegistryView(),
    toJson: Change.toJSON,
    candidate: replica,
    clock,
    log: logger,
  });

  const hello = helloOf(clusterId, config.version);
  const done = Promise.all([
    registry.run(signal),
    publisher.run(signal),
    scheduler.run({
      call: (since, ended) => onlyKinds(control.watch({ hello, since, scopes: [] }, { signal: ended }), ['task']),
      clock,
      rng,
      log: logger,
      signal,
    }),
    networks.run({
      call: (since, ended) => networkManager.watch({ hello, since, scopes: [] }, { signal: ended }),
      clock,
      rng,
      log: logger,
      signal,
    }),
    registry.keepMember(
      {
        identity: 'service:registry',
        instance: replica,
        address: `${config.advertise}:${server.port}`,
        hostname: config.hostname || hostname(),
        version: config.version,
        joinAddress: `${config.advertise}:${joinServer.port}`,
      },
      signal,
    ),
    // Clients that follow events find NATS here; it does not announce itself.
    ...natsMembers(config.natsUrls).map((member) => registry.keepSharedMember(member, signal)),
  ]).then(() => undefined);

  return {
    done,
    stop: async () => {
      await Promise.all([server.stop(graceMs), joinServer.stop(graceMs)]);
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

function addressesOf({ view }: Registry, identity: string): string[] {
  return view.serviceList().flatMap((member) => (member.identity === identity ? [member.address] : []));
}

function natsMembers(urls: readonly string[]): Member[] {
  return urls.map((url) => {
    const address = new URL(url).host;
    return { identity: 'service:nats', instance: `nats ${address}`, address, hostname: '', version: '' };
  });
}

function certificateTools(tls: TlsSource, rng: Rng): CertificateTools {
  return {
    csrKeySha256,
    readCertificate,
    hashTokenSecret,
    tokenSecretMatches,
    trustDigest,
    newJoinToken: () => {
      const secret = newTokenSecret(rng);
      return { secret, token: formatJoinToken({ caDigest: caDigest(tls.current().ca), secret }) };
    },
  };
}

function watchGauges(metrics: ReturnType<typeof createMetrics>, registry: Registry): void {
  const gauge = gaugesIn(metrics);
  gauge('berth_registry_leading', '1 while this replica leads.', () => Number(registry.leader.leading));
  gauge('berth_registry_brake', '1 while too many nodes are silent to declare any lost.', () =>
    Number(registry.view.brake?.value.resumed === false),
  );
  gauge('berth_registry_nodes', 'Nodes that have joined and not left.', () => registry.view.nodeCount);
  gauge('berth_registry_streams', 'Node streams that this replica holds.', () => registry.streams.size);
  gauge('berth_registry_endpoints', 'Endpoints announced, served or not.', () => registry.view.endpoints.size);
}
