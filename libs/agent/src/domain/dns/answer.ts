import type { Answer, DecodedPacket, OptAnswer, Packet } from 'dns-packet';
import type { DnsTable } from './dns-table.ts';

/** Codes of RFC 1035, section 4.1.1. */
const rcode = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5 } as const;
const authoritative = 1 << 10;
const truncated = 1 << 9;
const recursionDesired = 1 << 8;
const recursionAvailable = 1 << 7;

/** Largest UDP answer without EDNS (RFC 1035), and the most we send with it: what a bridge carries in few fragments. */
const udpSizeMin = 512;
const udpSizeMax = 4096;
/** Answers change when tasks do, so nobody keeps them. */
const ttlSeconds = 0;

/** What is to be done with a query: it is answered here, or passed on to the host's own resolvers. */
export type DnsDecision = { readonly kind: 'reply'; readonly packet: Packet } | { readonly kind: 'forward' };

/**
 * Answers a query with the view of the container at `clientIp`: names of its networks and whatever has no dot in it here,
 * everything else is passed on.
 * `rotation` turns the order of several addresses, so that callers who take the first spread.
 */
export function answerQuery(query: DecodedPacket, clientIp: string, table: DnsTable, rotation: number): DnsDecision {
  const networks = table.networksOf(clientIp);
  if (networks === undefined) return reply(query, [], rcode.refused);
  const [question] = query.questions ?? [];
  if (query.type !== 'query' || opcodeOf(query) !== 0) return reply(query, [], rcode.notImplemented);
  if (question === undefined || query.questions?.length !== 1) return reply(query, [], rcode.formatError);
  if (question.type === 'PTR') {
    const ip = ipOfReverseName(question.name);
    const name = ip === undefined ? undefined : table.reverse(networks, ip);
    if (name === undefined) return { kind: 'forward' };
    return reply(query, [{ type: 'PTR', name: question.name, ttl: ttlSeconds, data: name }]);
  }
  const found = table.lookup(networks, question.name);
  if (found.kind === 'unknown') {
    // A name of one label is a service's, of which nothing is there (yet): no resolver outside is to say what it is.
    return question.name.includes('.') ? { kind: 'forward' } : reply(query, [], rcode.nameError);
  }
  // The name is ours: what we do not have for it (AAAA, MX, …) does not exist, and no resolver outside is asked.
  if (question.type !== 'A') return reply(query, []);
  const turn = found.ips.length === 0 ? 0 : rotation % found.ips.length;
  const ips = [...found.ips.slice(turn), ...found.ips.slice(0, turn)];
  return reply(
    query,
    ips.map((data) => ({ type: 'A', name: question.name, ttl: ttlSeconds, data })),
  );
}

/** An answer that says only that something failed. */
export function failureReply(query: DecodedPacket): Packet {
  return replyPacket(query, [], rcode.serverFailure);
}

/** An answer to what could not be decoded: only the id is known. */
export function formatErrorReply(id: number): Packet {
  return { id, type: 'response', flags: rcode.formatError };
}

/** The largest UDP answer that the asker takes: EDNS's size (RFC 6891), else 512 bytes. */
export function udpLimitOf(query: DecodedPacket): number {
  const edns = ednsOf(query);
  return edns ? Math.min(udpSizeMax, Math.max(udpSizeMin, edns.udpPayloadSize)) : udpSizeMin;
}

/** Cuts an answer down to what fits and marks it truncated: the asker comes again over TCP. `sizeOf` is the encoder's. */
export function truncateTo(limit: number, packet: Packet, sizeOf: (packet: Packet) => number): Packet {
  if (sizeOf(packet) <= limit) return packet;
  const answers = packet.answers ?? [];
  const cut = (count: number): Packet => ({
    ...packet,
    flags: (packet.flags ?? 0) | truncated,
    answers: answers.slice(0, count),
  });
  let low = 0;
  let high = answers.length;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (sizeOf(cut(middle)) <= limit) low = middle;
    else high = middle - 1;
  }
  return cut(low);
}

function reply(query: DecodedPacket, answers: Answer[], code: number = rcode.noError): DnsDecision {
  return { kind: 'reply', packet: replyPacket(query, answers, code) };
}

function replyPacket(query: DecodedPacket, answers: Answer[], code: number): Packet {
  const edns = ednsOf(query);
  const opt: OptAnswer[] = edns
    ? [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: udpSizeMax,
          extendedRcode: 0,
          ednsVersion: 0,
          flags: 0,
          flag_do: false,
          options: [],
        },
      ]
    : [];
  return {
    ...(query.id === undefined ? {} : { id: query.id }),
    type: 'response',
    flags: authoritative | ((query.flags ?? 0) & recursionDesired) | recursionAvailable | code,
    questions: query.questions ?? [],
    answers,
    additionals: opt,
  };
}

/** Bits 11 to 14 of the flags; 0 is a standard query. */
function opcodeOf(query: DecodedPacket): number {
  return ((query.flags ?? 0) >> 11) & 15;
}

function ednsOf(query: DecodedPacket): OptAnswer | undefined {
  return query.additionals?.find((record): record is OptAnswer => record.type === 'OPT');
}

function ipOfReverseName(name: string): string | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa\.?$/iu.exec(name);
  return match ? match.slice(1).reverse().join('.') : undefined;
}
