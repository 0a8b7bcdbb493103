import { availableParallelism } from 'node:os';
import type { CertificateRenewalOptions, ClusterState, NodeIdentity } from '@berth/agent';
import {
  AgentCache,
  CertificateRenewal,
  DispatchClient,
  DockerImages,
  DockerNetworks,
  DockerReader,
  DockerRuntime,
  EndpointAnnouncer,
  leaveCluster,
  NodeTasks,
  PresenceClient,
  ProbeHandler,
  RetryPause,
  RuntimeHandler,
  StaticReporter,
  StatusReporter,
  TaskEngine,
} from '@berth/agent';
import { helloOf, rpc } from '@berth/contracts';
import { isBerthError } from '@berth/kernel';
import { gaugesIn } from '@berth/process';
import { bind, createDialer, probeServer } from '@berth/rpc';
import type { Base } from './base.ts';
import type { LateTls } from './late-tls.ts';
import { wireNetwork } from './network-wiring.ts';
import type { NodeCertificates } from './node-certificate.ts';
import { softwareVersion } from './version.ts';

/** A start is work for the engine's host more than waiting: with more at a time each costs more cpu (ADR 0113). */
const startsPerCore = 2;
/** The engine's own locks let no more than these go on together. */
const maxStarts = 8;

/** How a host that has joined keeps its certificate good. */
export interface LiveOptions extends Pick<CertificateRenewalOptions, 'sign' | 'token' | 'firstToken'> {
  readonly certificates: NodeCertificates;
}

export interface NodeWiring {
  readonly runtime: DockerRuntime;
  readonly engine: TaskEngine;
  /** Sends a signal to a static task's container, if it runs. */
  signalStatic(service: string, signal: string): Promise<void>;
  /** The host has joined: begins the sessions and serves. `onRemoved` is called when the cluster has removed it. */
  live(nodeId: string, options: LiveOptions, onRemoved: () => void): Promise<void>;
  /** Ends the sessions and takes all of the cluster's containers and networks off the host. */
  leave(): Promise<void>;
  farewell(): Promise<void>;
  close(): void;
}

/** Everything about containers, running from here on; and the sessions with the control plane, made but not begun. */
export async function wireNode(
  base: Base,
  host: {
    readonly cluster: ClusterState | undefined;
    readonly clusterId: string;
    readonly nodeId: string | undefined;
    readonly advertise: string;
    readonly tls: LateTls;
    readonly onRevoked: (identities: readonly string[]) => void;
  },
): Promise<NodeWiring> {
  const { config, ports, clock, log, disk, members, lives, signal, board } = base;
  const { hostname } = await describeHost(base, host);
  // Its node id comes when the host has joined.
  const node: { -readonly [K in keyof NodeIdentity]: NodeIdentity[K] } = {
    clusterId: host.clusterId,
    nodeId: host.nodeId ?? '',
    hostname,
  };
  const hello = helloOf(host.clusterId, softwareVersion);
  const dialer = createDialer({ tls: host.tls, clock, rng: base.rng, logger: log });
  const dispatchApi = dialer.client(rpc.dispatch, members.target('scheduler'));
  const presenceApi = dialer.client(rpc.presence, members.target('registry'));
  const certificateApi = dialer.client(rpc.certificate, members.target('registry'));

  // Containers and their networks.
  const runtime = new DockerRuntime(base.calls, host.clusterId);
  const networks = new DockerNetworks(base.calls, host.clusterId);
  const network = await wireNetwork(base, {
    clusterId: host.clusterId,
    advertise: host.advertise,
    dialer,
    engine: networks,
    tls: host.tls,
  });
  const cache = new AgentCache(disk, log);
  const tasks = new NodeTasks({ node, now: clock.monotonic(), ...(await cache.load()) });
  const reporter = new StatusReporter({ ...ports, client: dispatchApi });
  const statics = new StaticReporter({ ...ports, client: dispatchApi, tasks, node });
  const announcer = new EndpointAnnouncer({ ...ports, client: presenceApi, synced: () => dispatch.synced });
  const engine = new TaskEngine({
    ...ports,
    startConcurrency: Math.min(maxStarts, startsPerCore * availableParallelism()),
    tasks,
    node,
    runtime,
    network: network.taskNetwork,
    cache,
    onStatuses: (statuses) => reporter.report(statuses),
    onStatics: () => statics.changed(),
    onEndpoints: (endpoints) => announcer.set(endpoints),
  });
  lives.add(engine.run(signal));

  // Sessions.
  const sessions = new AbortController();
  let onRemoved = (): void => {};
  const dispatch: DispatchClient = new DispatchClient({
    ...ports,
    client: dispatchApi,
    hello,
    applied: () => tasks.revision,
    onStep: (step) => engine.sync(step),
    onSynced: (synced) => {
      if (sessions.signal.aborted) return;
      presence.changed();
      if (!synced) {
        board.set('joined', 'waiting for a scheduler');
        return;
      }
      announcer.confirmed();
      statics.changed();
      board.set('ready');
    },
  });
  const presence = new PresenceClient({
    ...ports,
    client: presenceApi,
    hello,
    describe: () => base.describe(host.advertise, host.cluster),
    synced: () => dispatch.synced,
    members,
    onConnected: () => announcer.reconnected(),
    onTold: ({ revokedIdentities, caSha256 }) => {
      host.onRevoked(revokedIdentities);
      renewal?.told(caSha256);
    },
    onRemoved: () => onRemoved(),
  });

  let renewal: CertificateRenewal | undefined;
  watchGauges(base, { tasks, reporter, dispatch });

  return {
    runtime,
    engine,
    live: async (nodeId, { certificates, ...how }, removed) => {
      node.nodeId = nodeId;
      // Whichever connection hears of it first.
      onRemoved = () => {
        onRemoved = () => undefined;
        removed();
      };
      const handler = new RuntimeHandler({
        engine,
        runtime,
        reader: new DockerReader(base.calls),
        images: new DockerImages(base.calls),
        clock,
        log,
      });
      const access = { kind: 'mtls', tls: host.tls } as const;
      await base.serve(`${host.advertise}:${config.grpcPort}`, access, [
        bind(rpc.runtime, handler),
        bind(rpc.probe, new ProbeHandler({ probe: probeServer })),
      ]);
      const member = AbortSignal.any([signal, sessions.signal]);
      renewal = new CertificateRenewal({
        ...ports,
        ...how,
        certificate: certificates,
        client: certificateApi,
        hello,
        nodeId,
        onTrouble: (message) => {
          if (message !== undefined) board.set(board.phase, message);
        },
        onRemoved: () => onRemoved(),
        onRenewed: ({ trust }) => {
          if (trust) presence.reconnect();
        },
      });
      for (const loop of [dispatch, presence, reporter, statics, announcer]) lives.add(loop.run(member));
      lives.add(renewal.run(member));
      network.live(nodeId);
    },
    signalStatic: async (service, name) => {
      const container = tasks.runningStatic(service);
      if (container) await runtime.kill(container.id, name);
    },
    leave: async () => {
      sessions.abort();
      await leaveCluster({ engine, runtime, networks, clock, log }, signal);
      await network.settled();
    },
    farewell: () => presence.restarting(),
    close: () => dialer.close(),
  };
}

function watchGauges(
  { metrics }: Base,
  parts: { readonly tasks: NodeTasks; readonly reporter: StatusReporter; readonly dispatch: DispatchClient },
): void {
  const gauge = gaugesIn(metrics);
  gauge('berth_agent_tasks', 'Tasks assigned to this node.', () => parts.tasks.assignments.length);
  gauge('berth_agent_static_tasks', 'Tasks this node runs from its manifest.', () => parts.tasks.statics.length);
  gauge(
    'berth_agent_statuses_pending',
    'Statuses that the scheduler has not acknowledged.',
    () => parts.reporter.pending,
  );
  gauge('berth_agent_dispatch_synced', '1 while a dispatch session tells what is ours.', () =>
    Number(parts.dispatch.synced),
  );
}

/** The host as its engine describes it; an engine that is still starting is waited for. */
async function describeHost(
  base: Base,
  { advertise, cluster }: { readonly advertise: string; readonly cluster: ClusterState | undefined },
): ReturnType<Base['describe']> {
  const retry = new RetryPause(base.ports);
  for (;;) {
    try {
      return await base.describe(advertise, cluster);
    } catch (error) {
      if (!isBerthError(error) || base.signal.aborted) throw error;
      base.board.set(base.board.phase, `waiting for the engine: ${error.message}`);
      if (retry.first) base.log.warn({ error: error.message }, 'the engine does not answer yet; trying again');
      await retry.pause(base.signal);
    }
  }
}
