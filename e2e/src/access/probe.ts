// node probe.ts <JOBS.json >OUTCOMES.json: makes calls by hand, with no code of Berth's between, from inside a host's
// network. Calls of one identity to one address go one after the other, over one connection; all else at once.
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTcp } from 'node:net';
import { text } from 'node:stream/consumers';
import type { SecureVersion, TLSSocket } from 'node:tls';
import { connect as connectTls } from 'node:tls';

/** PEM; without a certificate, nobody. */
export interface Credentials {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

export type Job =
  /** One gRPC call. `address` is `host:port` or the path of a Unix socket; `body` the request's message, base64. */
  | {
      readonly kind: 'grpc';
      readonly address: string;
      readonly serverName: string;
      readonly as: string;
      readonly path: string;
      readonly body: string;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** One line to NATS. `first` subscribes and gives the first message. */
  | {
      readonly kind: 'nats';
      readonly address: string;
      readonly as: string;
      readonly verb: 'publish' | 'subscribe' | 'first';
      readonly subject: string;
      readonly payload?: string;
    }
  /** A TLS handshake alone. */
  | {
      readonly kind: 'handshake';
      readonly address: string;
      readonly serverName: string;
      readonly as: string;
      readonly maxVersion: SecureVersion;
    };

export type Outcome =
  /** The server answered. `body` is the first message, base64; `details` what stands in the status details. */
  | {
      readonly kind: 'status';
      readonly code: number;
      readonly message: string;
      readonly details: string;
      readonly body: string;
    }
  /** A stream that was let in and says nothing. */
  | { readonly kind: 'open' }
  /** It may: NATS took it, the handshake succeeded. With `first`, the message. */
  | { readonly kind: 'taken'; readonly message: string }
  /** It may not: NATS' own words. */
  | { readonly kind: 'violation'; readonly why: string }
  /** Reached, but hung up before anything was said. */
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'unreachable'; readonly why: string };

export interface Request {
  readonly credentials: Readonly<Record<string, Credentials>>;
  readonly jobs: readonly Job[];
}

/** A stream that was let in may say nothing for as long as it likes; whoever is denied hears so much sooner. */
const quietMs = 6_000;
const answerMs = 10_000;

const { credentials, jobs } = JSON.parse(await text(process.stdin)) as Request;

function hostAndPort(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':');
  return { host: address.slice(0, at), port: Number(address.slice(at + 1)) };
}

function failure(error: unknown): Outcome {
  const why = String(error);
  return /ECONNREFUSED|EHOSTUNREACH|ENOENT|ETIMEDOUT/u.test(why)
    ? { kind: 'unreachable', why }
    : { kind: 'refused', why };
}

/** One connection, made when it is needed. */
class Line {
  #http2: ClientHttp2Session | undefined;
  #nats: Nats | undefined;

  async run(job: Job): Promise<Outcome> {
    try {
      if (job.kind === 'handshake') return await handshake(job);
      if (job.kind === 'nats') {
        this.#nats ??= await Nats.dial(job.address, credentials[job.as] as Credentials);
        return await this.#nats.ask(job);
      }
      if (this.#http2 === undefined || this.#http2.closed || this.#http2.destroyed) {
        this.#http2 = dialHttp2(job);
        // The call that it ends hears of it; one that comes after it gets a new connection.
        this.#http2.on('error', () => {});
      }
      return await grpc(this.#http2, job);
    } catch (error) {
      return failure(error);
    }
  }

  close(): void {
    this.#http2?.destroy();
    this.#nats?.close();
  }
}

function dialHttp2(job: Job & { kind: 'grpc' }): ClientHttp2Session {
  if (job.address.startsWith('/')) {
    return connectHttp2('http://localhost', { createConnection: () => connectTcp(job.address) });
  }
  return connectHttp2(`https://${job.address}`, {
    createConnection: () =>
      connectTls({
        ...hostAndPort(job.address),
        ...credentials[job.as],
        servername: job.serverName,
        ALPNProtocols: ['h2'],
        minVersion: 'TLSv1.2',
      }),
  });
}

/** Message with gRPC's five bytes in front. */
function framed(body: string): Buffer {
  const message = Buffer.from(body, 'base64');
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function grpc(session: ClientHttp2Session, job: Job & { kind: 'grpc' }): Promise<Outcome> {
  return new Promise((resolve) => {
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      session.off('error', onError).off('close', onClose);
      resolve(outcome);
    };
    const onError = (error: unknown): void => end(failure(error));
    const onClose = (): void => end({ kind: 'refused', why: 'the connection was closed' });
    let received = Buffer.alloc(0);
    const timer = setTimeout(() => {
      stream.close();
      end({ kind: 'open' });
    }, quietMs);
    session.on('error', onError).on('close', onClose);
    const stream = session.request({
      ':method': 'POST',
      ':path': job.path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...job.headers,
    });
    stream.on('error', onError);
    let status: Outcome | undefined;
    const read = (headers: IncomingHttpHeaders): void => {
      const code = headers['grpc-status'];
      if (code === undefined) return;
      const details = Buffer.from(String(headers['grpc-status-details-bin'] ?? ''), 'base64').toString('latin1');
      const message = decodeURIComponent(String(headers['grpc-message'] ?? ''));
      status = { kind: 'status', code: Number(code), message, details, body: firstMessage(received) };
    };
    stream.on('response', read);
    stream.on('trailers', read);
    stream.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      // A stream that goes on has said enough with its first message.
      if (received.length >= 5 && received.length >= 5 + received.readUInt32BE(1)) {
        setTimeout(() => {
          if (status === undefined) {
            stream.close();
            end({ kind: 'status', code: 0, message: 'a stream', details: '', body: firstMessage(received) });
          }
        }, 200);
      }
    });
    stream.on('end', () => setImmediate(() => end(status ?? { kind: 'refused', why: 'no status' })));
    stream.end(framed(job.body));
  });
}

function firstMessage(received: Buffer): string {
  return received.length < 5 ? '' : received.subarray(5, 5 + received.readUInt32BE(1)).toString('base64');
}

function handshake(job: Job & { kind: 'handshake' }): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = connectTls({
      ...hostAndPort(job.address),
      ...credentials[job.as],
      servername: job.serverName,
      maxVersion: job.maxVersion,
    });
    const end = (outcome: Outcome): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket.once('secureConnect', () => end({ kind: 'taken', message: '' }));
    socket.once('error', (error) => end(failure(error)));
    socket.once('close', () => end({ kind: 'refused', why: 'the connection was closed' }));
  });
}

/** NATS' protocol by hand: what the server says to each line. */
class Nats {
  readonly #socket: TLSSocket;
  #received = '';
  #closed = '';
  #subscriptions = 0;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on('data', (data) => {
      this.#received += String(data);
    });
    socket.on('error', (error) => {
      this.#closed ||= String(error);
    });
    socket.on('close', () => {
      this.#closed ||= 'the connection was closed';
    });
  }

  static async dial(address: string, tls: Credentials): Promise<Nats> {
    const raw: Socket = connectTcp(hostAndPort(address));
    await new Promise((resolve, reject) => raw.once('data', resolve).once('error', reject));
    const socket = connectTls({ socket: raw, ...tls, servername: 'nats.service.berth' });
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    const nats = new Nats(socket);
    const options = { verbose: false, pedantic: false, tls_required: true, headers: true, protocol: 1, lang: 'probe' };
    socket.write(`CONNECT ${JSON.stringify(options)}\r\n`);
    return nats;
  }

  close(): void {
    this.#socket.destroy();
  }

  async ask(job: Job & { kind: 'nats' }): Promise<Outcome> {
    this.#received = '';
    this.#subscriptions += 1;
    const payload = Buffer.from(job.payload ?? '');
    // JetStream records nothing that expects another stream: a published event here is seen by nobody.
    const headers = 'NATS/1.0\r\nNats-Expected-Stream: NONE-OF-THESE\r\n\r\n';
    const lines =
      job.verb === 'publish'
        ? `HPUB ${job.subject} ${headers.length} ${headers.length + payload.length}\r\n${headers}${payload}\r\n`
        : `SUB ${job.subject} ${this.#subscriptions}\r\n`;
    this.#socket.write(`${lines}PING\r\n`);
    await this.#until(() => this.#received.includes('PONG'));
    const violation = /-ERR '([^']*)'/u.exec(this.#received)?.[1];
    if (this.#closed !== '') return { kind: 'refused', why: violation ?? this.#closed };
    if (violation !== undefined) return { kind: 'violation', why: violation };
    if (job.verb !== 'first') return { kind: 'taken', message: '' };
    const message = /MSG \S+ \d+ (\d+)\r\n/u;
    await this.#until(() => message.test(this.#received));
    const found = message.exec(this.#received);
    const start = (found?.index ?? 0) + (found?.[0].length ?? 0);
    return { kind: 'taken', message: this.#received.slice(start, start + Number(found?.[1] ?? 0)) };
  }

  async #until(condition: () => boolean): Promise<void> {
    const deadline = performance.now() + answerMs;
    while (!condition() && this.#closed === '') {
      if (performance.now() > deadline) throw new Error(`NATS does not answer: ${this.#received}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

const groups = Map.groupBy([...jobs.entries()], ([, job]) => `${job.kind} ${job.as} ${job.address}`);
const outcomes: Outcome[] = [];
await Promise.all(
  [...groups.values()].map(async (group) => {
    const line = new Line();
    for (const [index, job] of group) outcomes[index] = await line.run(job);
    line.close();
  }),
);
process.stdout.write(JSON.stringify(outcomes));
