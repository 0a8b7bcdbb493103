import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { ServerTls } from './etcd.ts';
import type { Place } from './server-process.ts';
import { createPlace, freePort, ServerProcess } from './server-process.ts';

export interface NatsOptions {
  readonly tls?: ServerTls & {
    /** Map a client's certificate to a user by its DNS names. Needs clientCaFile. Default false. */
    readonly verifyAndMap?: boolean;
  };
  /** More of the server's configuration file, in its own language: users, permissions, limits. */
  readonly config?: string;
  /** Default true. */
  readonly jetstream?: boolean;
  /** Put the server at the end of a cable of its own, so that drop() can cut it off without a word. Default false. */
  readonly isolated?: boolean;
  /** More flags for nats-server. */
  readonly args?: readonly string[];
}

/** A real nats-server with a JetStream directory of its own. */
export class NatsServer extends ServerProcess {
  readonly port: number;
  readonly #place: Place;
  readonly #options: NatsOptions;

  constructor(place: Place, port: number, options: NatsOptions) {
    super({
      name: 'nats-server',
      ...place,
      argv: () => ['nats-server', '--config', configFile(place), ...(options.args ?? [])],
      isReady: () => greets(place.address, port),
    });
    this.port = port;
    this.#place = place;
    this.#options = options;
    this.writeConfig(options.config ?? '');
  }

  /** URL for clients. */
  get url(): string {
    return `${this.#options.tls ? 'tls' : 'nats'}://${this.address}:${this.port}`;
  }

  /** Replaces the additional configuration and lets the running server read it (SIGHUP). */
  reload(config: string): void {
    this.writeConfig(config);
    this.signal('SIGHUP');
  }

  /** Replaces the additional configuration for the next start. */
  writeConfig(config: string): void {
    writeFileSync(configFile(this.#place), natsConfig(this.#place, this.port, { ...this.#options, config }));
  }
}

/** Starts nats-server on a free port, on loopback unless isolated, and waits until it takes connections. */
export async function startNats(options: NatsOptions = {}): Promise<NatsServer> {
  const place = await createPlace('nats', options.isolated ?? false);
  const server = new NatsServer(place, await freePort(), options);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

function configFile(place: Place): string {
  return join(place.directory.path, 'nats.conf');
}

function natsConfig(place: Place, port: number, { tls, jetstream = true, config = '' }: NatsOptions): string {
  const clientCheck = tls?.verifyAndMap ? 'verify_and_map: true' : 'verify: true';
  return [
    `listen: "${place.address}:${port}"`,
    'server_name: "test"',
    // A client that is gone without a word is noticed as fast as the product asks for.
    'ping_interval: "1s"',
    'ping_max: 2',
    ...(jetstream ? [`jetstream { store_dir: "${join(place.directory.path, 'jetstream')}" }`] : []),
    ...(tls ? ['tls {', `  cert_file: "${tls.certFile}"`, `  key_file: "${tls.keyFile}"`] : []),
    ...(tls?.clientCaFile ? [`  ca_file: "${tls.clientCaFile}"`, `  ${clientCheck}`] : []),
    ...(tls ? ['}'] : []),
    config,
    '',
  ].join('\n');
}

/** A NATS server speaks first, in plain text even where TLS follows. */
function greets(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const finish = (ready: boolean): void => {
      socket.destroy();
      resolve(ready);
    };
    socket.setTimeout(1_000, () => finish(false));
    socket.once('error', () => finish(false));
    socket.once('close', () => finish(false));
    socket.once('data', (data) => finish(data.toString().startsWith('INFO ')));
  });
}
