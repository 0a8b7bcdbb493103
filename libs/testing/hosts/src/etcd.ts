import { join } from 'node:path';
import type { Place } from './server-process.ts';
import { createPlace, freePort, ServerProcess } from './server-process.ts';

export interface ServerTls {
  /** PEM files. */
  readonly certFile: string;
  readonly keyFile: string;
  /** The CA whose clients are let in; with it, a client without a certificate is refused. */
  readonly clientCaFile?: string;
}

export interface EtcdOptions {
  readonly tls?: ServerTls;
  /** Put the server at the end of a cable of its own, so that drop() can cut it off without a word. Default false. */
  readonly isolated?: boolean;
  /** More flags for etcd. */
  readonly args?: readonly string[];
}

/** A real etcd of one member with a data directory of its own. */
export class EtcdServer extends ServerProcess {
  readonly port: number;
  readonly tls: boolean;

  constructor(place: Place, ports: EtcdPorts, options: EtcdOptions) {
    super({
      name: 'etcd',
      ...place,
      argv: () => etcdArgv(place, ports, options),
      isReady: () => isHealthy(`http://${place.address}:${ports.metrics}/health`),
    });
    this.port = ports.client;
    this.tls = options.tls !== undefined;
  }

  /** URL for clients. */
  get endpoint(): string {
    return `${this.tls ? 'https' : 'http'}://${this.address}:${this.port}`;
  }
}

interface EtcdPorts {
  readonly client: number;
  readonly peer: number;
  readonly metrics: number;
}

/**
 * Starts etcd on free ports, on loopback unless isolated, and waits until it has a leader. `kill()`, `restart()`,
 * `pause()`, `drop()` disturb it; `stop()` removes it.
 */
export async function startEtcd(options: EtcdOptions = {}): Promise<EtcdServer> {
  const place = await createPlace('etcd', options.isolated ?? false);
  const ports = { client: await freePort(), peer: await freePort(), metrics: await freePort() };
  const server = new EtcdServer(place, ports, options);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

function etcdArgv(place: Place, ports: EtcdPorts, { tls, args = [] }: EtcdOptions): string[] {
  const client = `${tls ? 'https' : 'http'}://${place.address}:${ports.client}`;
  const peer = `http://${place.address}:${ports.peer}`;
  return [
    'etcd',
    ...['--name', 'test', '--data-dir', join(place.directory.path, 'data'), '--logger', 'zap'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `test=${peer}`],
    ...['--listen-metrics-urls', `http://${place.address}:${ports.metrics}`],
    // Clients ping every second to notice a silent peer; etcd cuts off who pings more often than this.
    ...['--grpc-keepalive-min-time', '500ms', '--grpc-keepalive-interval', '1s', '--grpc-keepalive-timeout', '2s'],
    // A mirror's revision advances by these.
    ...['--experimental-watch-progress-notify-interval', '1s'],
    ...(tls ? ['--cert-file', tls.certFile, '--key-file', tls.keyFile] : []),
    ...(tls?.clientCaFile ? ['--client-cert-auth', '--trusted-ca-file', tls.clientCaFile] : []),
    ...args,
  ];
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) });
    return (await response.text()).includes('"true"');
  } catch {
    return false;
  }
}
