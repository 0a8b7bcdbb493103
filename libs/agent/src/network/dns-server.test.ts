import type { Socket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { connect } from 'node:net';
import { isBerthError } from '@berth/kernel';
import type { DecodedPacket, Packet, RecordType } from 'dns-packet';
import { decode, encode, TRUNCATED_RESPONSE } from 'dns-packet';
import { afterEach, describe, expect, it } from 'vitest';
import { DnsTable } from '../domain/dns/dns-table.ts';
import { DnsServer } from './dns-server.ts';

const here = '127.0.0.1';
const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const servers: DnsServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.closeAll();
});

const serve = async (table: DnsTable, upstreams: string[] = [], tries = 5): Promise<number> => {
  const server = new DnsServer({ table, log: quiet, upstreams: () => upstreams, port: 0 });
  try {
    await server.listen(here);
  } catch (error) {
    // The port that is free for UDP may be taken for TCP, by a test of something else.
    if (tries > 1 && isBerthError(error, 'Unavailable')) return serve(table, upstreams, tries - 1);
    throw error;
  }
  servers.push(server);
  return server.portOf(here) ?? 0;
};
const query = (name: string, type: RecordType = 'A', edns?: number): Packet => ({
  id: 4711,
  type: 'query',
  flags: 1 << 8,
  questions: [{ name, type, class: 'IN' }],
  additionals: edns
    ? [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: edns,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ]
    : [],
});
const udp = (port: number, message: Buffer): Promise<{ packet: DecodedPacket; bytes: number }> =>
  new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.on('message', (m) => {
      socket.close();
      resolve({ packet: decode(m), bytes: m.length });
    });
    socket.send(message, port, here);
  });
const tcp = (port: number, messages: Buffer[]): Promise<DecodedPacket[]> =>
  new Promise((resolve) => {
    const socket = connect(port, here);
    let got = Buffer.alloc(0);
    const answers: DecodedPacket[] = [];
    socket.on('data', (data) => {
      got = Buffer.concat([got, data]);
      while (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0)) {
        const end = 2 + got.readUInt16BE(0);
        answers.push(decode(got.subarray(2, end)));
        got = got.subarray(end);
      }
      if (answers.length === messages.length) {
        socket.destroy();
        resolve(answers);
      }
    });
    const stream = Buffer.concat(messages.map((m) => Buffer.concat([Buffer.from([m.length >> 8, m.length & 255]), m])));
    // In two pieces that tear a message apart.
    socket.write(stream.subarray(0, 5));
    setTimeout(() => socket.write(stream.subarray(5)), 20);
  });
const withReplicas = (count: number) => {
  const table = new DnsTable();
  for (let i = 1; i <= count; i++)
    table.put({
      taskId: `t${i}`,
      networkId: 'n',
      names: ['web'],
      taskName: `web.${i}`,
      ip: `198.19.1.${i}`,
      healthy: true,
    });
  table.setClient([here], ['n']);
  return table;
};
/** A table in which the client has a network, and the network no names. */
const strangersTo = (client: string): DnsTable => {
  const table = new DnsTable();
  table.setClient([client], ['n']);
  return table;
};
const rcode = (packet: DecodedPacket) => (packet.flags ?? 0) & 15;
const ips = (packet: DecodedPacket) => (packet.answers ?? []).map((a) => (a.type === 'A' ? a.data : a.type));

describe('DnsServer', () => {
  it('answers names of the asker’s networks and turns their order', async () => {
    const port = await serve(withReplicas(3));
    const first = ips((await udp(port, encode(query('web')))).packet);
    const second = ips((await udp(port, encode(query('WeB')))).packet);
    expect([...first].sort()).toEqual(['198.19.1.1', '198.19.1.2', '198.19.1.3']);
    expect(second[0]).not.toBe(first[0]);
  });

  it('truncates over UDP at 512 bytes or the EDNS size, and sends all over TCP', async () => {
    const port = await serve(withReplicas(90));
    const plain = await udp(port, encode(query('web')));
    expect(plain.bytes).toBeLessThanOrEqual(512);
    expect((plain.packet.flags ?? 0) & TRUNCATED_RESPONSE).not.toBe(0);
    expect(ips(plain.packet).length).toBeGreaterThan(10);
    const edns = await udp(port, encode(query('web', 'A', 4096)));
    expect([edns.packet.flag_tc, ips(edns.packet).length, edns.packet.additionals?.[0]?.type]).toEqual([
      false,
      90,
      'OPT',
    ]);
    const [one, two] = await tcp(port, [encode(query('web')), encode(query('web.7'))]);
    expect([one && ips(one).length, two && ips(two)]).toEqual([90, ['198.19.1.7']]);
  });

  it('knows no AAAA of its own names, refuses strangers, survives garbage', async () => {
    const table = withReplicas(1);
    const port = await serve(table);
    const aaaa = (await udp(port, encode(query('web', 'AAAA')))).packet;
    expect([rcode(aaaa), aaaa.answers?.length]).toEqual([0, 0]);
    expect((await udp(port, Buffer.from([0x12, 0x34, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 63]))).packet.id).toBe(0x1234);
    table.removeClient([here]);
    expect(rcode((await udp(port, encode(query('web')))).packet)).toBe(5);
  });

  it('passes everything else on, to the next resolver when one is dead, and says SERVFAIL when all are', async () => {
    const outside = new DnsTable();
    outside.put({
      taskId: 'x',
      networkId: 'n',
      names: ['example.org'],
      taskName: 'x',
      ip: '198.18.9.9',
      healthy: true,
    });
    outside.setClient([here], ['n']);
    const upstream = await serve(outside);
    const port = await serve(withReplicas(1), [`${here}:1`, `${here}:${upstream}`]);
    expect(ips((await udp(port, encode(query('example.org')))).packet)).toEqual(['198.18.9.9']);
    const [overTcp] = await tcp(port, [encode(query('example.org'))]);
    expect(overTcp && ips(overTcp)).toEqual(['198.18.9.9']);
    const alone = await serve(withReplicas(1));
    expect(rcode((await udp(alone, encode(query('example.org')))).packet)).toBe(2);
  });

  it('outlives a resolver that has no route, and goes to the next', async () => {
    const outside = withReplicas(1);
    const upstream = await serve(outside);
    // The kernel refuses to connect to a broadcast address, as it does where there is no route.
    const port = await serve(strangersTo(here), ['255.255.255.255:53', `${here}:${upstream}`]);
    expect(ips((await udp(port, encode(query('web.1')))).packet)).toEqual(['198.19.1.1']);
  });

  it('asks nobody outside for a name without a dot: nothing of that name is there', async () => {
    const upstream = await serve(withReplicas(1));
    const port = await serve(strangersTo(here), [`${here}:${upstream}`]);
    expect(rcode((await udp(port, encode(query('web')))).packet)).toBe(3);
  });

  it('outlives a packet from port 0, which a container with a raw socket can send', async () => {
    const sockets: Socket[] = [];
    const seen = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket);
    subscribe('udp.socket', seen);
    const port = await serve(withReplicas(1));
    unsubscribe('udp.socket', seen);
    const packet = encode(query('web'));
    for (const socket of sockets)
      socket.emit('message', packet, { address: here, port: 0, family: 'IPv4', size: packet.length });
    // An error here would be nobody's: vitest fails on it.
    expect(ips((await udp(port, packet)).packet)).toEqual(['198.19.1.1']);
  });

  it('outlives an answer that comes when its network is gone', async () => {
    const slow = createSocket('udp4');
    await new Promise<void>((resolve) => slow.bind(0, here, resolve));
    const asked = new Promise<() => void>((resolve) => {
      slow.once('message', (message, from) => resolve(() => slow.send(message, from.port, from.address)));
    });
    const table = withReplicas(1);
    const server = new DnsServer({
      table,
      log: quiet,
      upstreams: () => [`${here}:${slow.address().port}`],
      port: 0,
    });
    await server.listen(here);
    const client = createSocket('udp4');
    client.send(encode(query('example.org')), server.portOf(here), here);
    const answer = await asked;
    await server.closeAll();
    answer();
    // An error here would be nobody's: vitest fails on it.
    await new Promise((resolve) => setTimeout(resolve, 50));
    client.close();
    slow.close();
  });

  it('says whose fault it is when it can not listen', async () => {
    const port = await serve(withReplicas(1));
    const second = new DnsServer({ table: new DnsTable(), log: quiet, upstreams: () => [], port });
    await expect(second.listen(here)).rejects.toMatchObject({ code: 'Unavailable', reason: 'DNS_ADDRESS' });
  });

  it('names addresses of the asker’s networks in reverse', async () => {
    const port = await serve(withReplicas(2));
    const { packet } = await udp(port, encode(query('2.1.19.198.in-addr.arpa', 'PTR')));
    expect(packet.answers?.map((a) => (a.type === 'PTR' ? a.data : ''))).toEqual(['web.2']);
  });
});
