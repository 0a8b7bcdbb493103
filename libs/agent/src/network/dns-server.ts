import type { RemoteInfo, Socket as UdpSocket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import type { Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import type { Logger } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import type { DecodedPacket, Packet } from 'dns-packet';
import { decode, encode, encodingLength } from 'dns-packet';
import { answerQuery, failureReply, formatErrorReply, truncateTo, udpLimitOf } from '../domain/dns/answer.ts';
import type { DnsTable } from '../domain/dns/dns-table.ts';

/** Queries being passed on at once; more are refused with SERVFAIL, and the asker tries again. */
const forwardsMax = 1_000;
const forwardTimeoutMs = 2_000;
const tcpConnectionsMax = 512;
const tcpIdleMs = 10_000;

export interface DnsServerOptions {
  readonly table: DnsTable;
  readonly log: Logger;
  /** Resolvers of the host, asked in this order: `address` or `address:port`. Read anew for each query. */
  readonly upstreams: () => readonly string[];
  /** Port to listen at. Default 53. */
  readonly port?: number;
}

interface Listener {
  readonly udp: UdpSocket;
  readonly tcp: Server;
  readonly connections: Set<Socket>;
}

/** DNS for the containers of this host, over UDP and TCP, on the gateway address of each of Berth's bridges. */
export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #listeners = new Map<string, Listener>();
  #rotation = 0;
  #forwards = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  /** Addresses it listens at. */
  get addresses(): readonly string[] {
    return [...this.#listeners.keys()];
  }

  /** Listens at an address; once only. Unavailable with reason DNS_ADDRESS if the address is not on
   *  this host (yet) or the port is taken. */
  async listen(address: string): Promise<void> {
    if (this.#listeners.has(address)) return;
    const port = this.#options.port ?? 53;
    const udp = createSocket('udp4');
    const tcp = createServer();
    const listener: Listener = { udp, tcp, connections: new Set() };
    this.#listeners.set(address, listener);
    tcp.maxConnections = tcpConnectionsMax;
    tcp.on('connection', (socket) => this.#serveTcp(socket, listener));
    // From port 0, which a raw socket can send from, nobody can be answered.
    udp.on('message', (message, from) => {
      if (from.port !== 0) this.#serveUdp(udp, message, from).catch((err: unknown) => this.#refused(from.address, err));
    });
    try {
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject);
        udp.bind({ address, port, exclusive: true }, resolve);
      });
      const bound = udp.address().port;
      await new Promise<void>((resolve, reject) => {
        tcp.once('error', reject);
        tcp.listen({ host: address, port: bound }, resolve);
      });
    } catch (error) {
      this.#listeners.delete(address);
      tcp.close();
      udp.close();
      throw cannotListen(address, error);
    }
    const warn = (err: Error): void => this.#options.log.warn({ err, address }, 'dns socket');
    udp.removeAllListeners('error').on('error', warn);
    tcp.removeAllListeners('error').on('error', warn);
  }

  /** The port of an address it listens at. */
  portOf(address: string): number | undefined {
    return this.#listeners.get(address)?.udp.address().port;
  }

  /** Stops listening at an address. */
  async close(address: string): Promise<void> {
    const listener = this.#listeners.get(address);
    if (!listener) return;
    this.#listeners.delete(address);
    for (const socket of listener.connections) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => listener.udp.close(() => resolve())),
      new Promise<void>((resolve) => listener.tcp.close(() => resolve())),
    ]);
  }

  /** Stops. */
  async closeAll(): Promise<void> {
    await Promise.all(this.addresses.map((address) => this.close(address)));
  }

  async #serveUdp(socket: UdpSocket, message: Buffer, from: RemoteInfo): Promise<void> {
    const answer = await this.#answer(message, from.address, 'udp');
    if (answer && this.#isOpen(socket)) socket.send(answer, from.port, from.address);
  }

  /** No packet that a container sends may end the process. */
  #refused(client: string, err: unknown): void {
    this.#options.log.warn({ err, client }, 'a query could not be answered');
  }

  /** Its network may have gone while the answer was on its way. */
  #isOpen(socket: UdpSocket): boolean {
    for (const listener of this.#listeners.values()) if (listener.udp === socket) return true;
    return false;
  }

  #serveTcp(socket: Socket, listener: Listener): void {
    const client = socket.remoteAddress ?? '';
    let buffered: Buffer = Buffer.alloc(0);
    listener.connections.add(socket);
    socket.setTimeout(tcpIdleMs, () => socket.destroy());
    socket.on('close', () => listener.connections.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('data', (data) => {
      buffered = Buffer.concat([buffered, data]);
      for (let next = takeMessage(buffered); next; next = takeMessage(buffered)) {
        buffered = next.rest;
        this.#answer(next.message, client, 'tcp').then(
          (answer) => {
            if (answer && socket.writable) socket.write(framed(answer));
          },
          (err: unknown) => this.#refused(client, err),
        );
      }
    });
  }

  async #answer(message: Buffer, clientIp: string, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const query = decodeQuery(message);
    if (query === undefined) return message.length < 2 ? undefined : encode(formatErrorReply(message.readUInt16BE(0)));
    // An answer to an answer would go round for ever.
    if (query.type === 'response') return undefined;
    this.#rotation = (this.#rotation + 1) % 0x7fff_ffff;
    const decision = answerQuery(query, clientIp, this.#options.table, this.#rotation);
    if (decision.kind === 'reply') return encodeFor(decision.packet, query, transport);
    return (await this.#forward(message, transport)) ?? encodeFor(failureReply(query), query, transport);
  }

  async #forward(message: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    if (this.#forwards >= forwardsMax) return undefined;
    this.#forwards += 1;
    try {
      for (const upstream of this.#options.upstreams()) {
        const answer = transport === 'udp' ? await askUdp(upstream, message) : await askTcp(upstream, message);
        if (answer) return answer;
      }
      return undefined;
    } finally {
      this.#forwards -= 1;
    }
  }
}

function cannotListen(address: string, cause: unknown): BerthError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const remedy =
    code === 'EADDRINUSE' ? '. Remedy: another name server holds the port; bind it to its own addresses' : '';
  return new BerthError('Unavailable', `name server at ${address}: ${message}${remedy}`, {
    reason: 'DNS_ADDRESS',
    cause,
  });
}

function encodeFor(packet: Packet, query: DecodedPacket, transport: 'udp' | 'tcp'): Buffer {
  return encode(transport === 'udp' ? truncateTo(udpLimitOf(query), packet, encodingLength) : packet);
}

function decodeQuery(message: Buffer): DecodedPacket | undefined {
  try {
    return decode(message);
  } catch {
    // The decoder throws on anything malformed; the asker is told by a FORMERR.
    return undefined;
  }
}

/** The first whole message of a TCP stream (RFC 1035, 4.2.2: two bytes of length, then the message). */
function takeMessage(buffered: Buffer): { message: Buffer; rest: Buffer } | undefined {
  if (buffered.length < 2) return undefined;
  const end = 2 + buffered.readUInt16BE(0);
  if (buffered.length < end) return undefined;
  return { message: buffered.subarray(2, end), rest: buffered.subarray(end) };
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

function hostAndPort(upstream: string): { host: string; port: number } {
  const match = /^(\d+\.\d+\.\d+\.\d+):(\d+)$/u.exec(upstream);
  return match ? { host: match[1] ?? '', port: Number(match[2]) } : { host: upstream, port: 53 };
}

/** Asks a resolver; undefined when it fails or is silent. The socket is connected: nobody else can answer. */
function askUdp(upstream: string, message: Buffer): Promise<Buffer | undefined> {
  const { host, port } = hostAndPort(upstream);
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    const done = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.removeAllListeners().on('error', () => undefined);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => done(undefined), forwardTimeoutMs);
    socket.on('error', () => done(undefined));
    socket.on('message', (answer) => {
      if (answer.length >= 2 && answer.readUInt16BE(0) === message.readUInt16BE(0)) done(answer);
    });
    // Of a resolver without a route (IPv6 on a host that has none, say) the callback hears too, not the listener.
    socket.connect(port, host, (error?: Error) => {
      if (error) done(undefined);
      else socket.send(message);
    });
  });
}

function askTcp(upstream: string, message: Buffer): Promise<Buffer | undefined> {
  const { host, port } = hostAndPort(upstream);
  const socket = connect({ host, port });
  return new Promise((resolve) => {
    let buffered: Buffer = Buffer.alloc(0);
    const done = (answer: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => done(undefined), forwardTimeoutMs);
    socket.on('error', () => done(undefined));
    socket.on('end', () => done(undefined));
    socket.on('data', (data) => {
      buffered = Buffer.concat([buffered, data]);
      const whole = takeMessage(buffered);
      if (whole) done(whole.message);
    });
    socket.write(framed(message));
  });
}
