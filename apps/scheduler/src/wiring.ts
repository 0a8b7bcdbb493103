import { hostname } from 'node:os';
import { Publisher } from '@berth/changes';
import { rpc } from '@berth/contracts';
import { Change } from '@berth/contracts/scheduler';
import { Admission, Membership } from '@berth/discovery';
import { connectNats } from '@berth/events-nats';
import type { Logger } from '@berth/kernel';
import { awaitCluster, dnsNameOf, newId } from '@berth/kernel';
import type { Running } from '@berth/process';
import { createMetrics, rpcMetrics, SystemClock, SystemRng, startHttp } from '@berth/process';
import { createDialer, fileTls, startServer } from '@berth/rpc';
import { defaultLimits, owner, SchedulerService, SchedulerView } from '@berth/scheduling';
import { connectEtcd } from '@berth/store-etcd';
import type { Config } from './config.ts';
import { schedulerMetrics } from './metrics.ts';

/** Time that unary calls get to end when the process stops. */
const graceMs = 3_000;

/** Puts the scheduler together. */
export async function start(config: Config, baseLogger: Logger, stopping: AbortSignal): Promise<Running> {
  const clock = new SystemClock();
  const rng = new SystemRng();
  const instance = newId(rng);
  const logger = baseLogger.child({ replica: instance });
  const metrics = createMetrics('scheduler');
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
      identity: 'service:scheduler',
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

  // What is served.
  const scheduler = new SchedulerService({
    store,
    clock,
    rng,
    log: logger,
    clusterId,
    instance,
    registry: dialer.client(rpc.catalog, registry),
    networkManager: dialer.client(rpc.network, {
      identity: { role: 'service', name: 'network-manager' },
      addresses: () => members.addressesOf('service:network-manager'),
    }),
    agentOf: (node) =>
      dialer.client(rpc.runtime, {
        identity: { role: 'node', id: node.id },
        addresses: () => [`${node.address}:${node.agentPort}`],
      }),
    settings: {
      drainDelayMs: config.drainDelayMs,
      leaderTtlMs: config.leaderTtlMs,
      limits: { ...defaultLimits, taskHistoryPerSlotMax: config.taskHistoryPerSlotMax },
    },
    observer: schedulerMetrics(metrics),
  });
  const server = await startServer({
    address: grpcAddress,
    access: { kind: 'mtls', tls },
    services: scheduler.services,
    admission: new Admission(scheduler.registry),
    logger,
    observer: rpcMetrics(metrics),
    ready: () => scheduler.feed.synced,
  });
  missing = () => scheduler.ready();

  // What is told to all.
  const bus = connectNats({
    servers: () => config.natsUrls.map((url) => new URL(url).host),
    tls: () => tls.current(),
    serverName: dnsNameOf({ role: 'service', name: 'nats' }),
    name: `scheduler ${instance}`,
    clock,
    rng,
    logger,
  });
  const publisher = new Publisher({
    owner,
    store,
    bus,
    view: () => new SchedulerView(),
    toJson: Change.toJSON,
    candidate: instance,
    clock,
    log: logger,
  });

  const done = Promise.all([scheduler.run(signal), members.run(signal), publisher.run(signal)]).then(() => undefined);

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
