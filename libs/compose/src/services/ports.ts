import type { ExposedPort, PortSpec } from '@berth/contracts/workload';
import { Protocol } from '@berth/contracts/workload';
import type { Field } from '../field.ts';
import { portLevel } from '../keys.ts';
import { canonicalIp, isIp } from '../text/addresses.ts';
import type { Parsed } from '../text/units.ts';

/** A published port with the place where it is written. */
export interface PublishedPort {
  readonly spec: PortSpec;
  readonly field: Field;
}

/** A port of the container with the place where it is written. */
export interface ServedPort {
  readonly spec: ExposedPort;
  readonly field: Field;
}

const protocols: Readonly<Record<string, Protocol>> = {
  tcp: Protocol.PROTOCOL_TCP,
  udp: Protocol.PROTOCOL_UDP,
  sctp: Protocol.PROTOCOL_SCTP,
};
const protocolNames = ['tcp', 'udp', 'sctp'] as const;
const rangeRemedy = 'use a port from 1 to 65535, or a range such as 8000-8010';

interface Range {
  readonly first: number;
  readonly last: number;
}

interface ShortPort {
  readonly hostIp: string;
  readonly published: Range | undefined;
  readonly target: Range;
  readonly protocol: string;
}

function parseRange(text: string): Parsed<Range> {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) return { ok: false, message: `"${text}" is not a port`, remedy: rangeRemedy };
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  const bad = [first, last].find((port) => port < 1 || port > 65_535);
  if (bad !== undefined) return { ok: false, message: `port ${bad} is out of range`, remedy: rangeRemedy };
  if (last < first) {
    return { ok: false, message: `the port range ${text} ends before it starts`, remedy: 'put the smaller port first' };
  }
  return { ok: true, value: { first, last } };
}

/** Reads `[HOST_IP:][PUBLISHED:]TARGET[/PROTOCOL]`, ports possibly ranges. */
export function parseShortPort(text: string): Parsed<ShortPort> {
  const match = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(?:([^:]*):)?([^:/]+)(?:\/(.*))?$/.exec(text);
  const remedy = 'write [HOST_IP:][PUBLISHED:]TARGET[/PROTOCOL], such as "127.0.0.1:8080:80/tcp"';
  if (match === null) return { ok: false, message: `"${text}" is not a port`, remedy };
  const [, head, middle, targetText = '', protocol = 'tcp'] = match;
  // With one colon the part before it is the published port.
  const hostText = middle === undefined ? '' : (head ?? '');
  const publishedText = middle ?? head ?? '';
  const hostIp = hostText.startsWith('[') ? hostText.slice(1, -1) : hostText;
  if (hostIp !== '' && !isIp(hostIp)) {
    return { ok: false, message: `"${hostIp}" is not an IP address`, remedy };
  }
  if (!Object.hasOwn(protocols, protocol.toLowerCase())) {
    return { ok: false, message: `"${protocol}" is not a protocol`, remedy: 'use tcp, udp or sctp' };
  }
  const target = parseRange(targetText);
  if (!target.ok) return target;
  if (publishedText === '' || publishedText === '0') {
    return {
      ok: true,
      value: { hostIp, published: undefined, target: target.value, protocol: protocol.toLowerCase() },
    };
  }
  const published = parseRange(publishedText);
  if (!published.ok) return published;
  return {
    ok: true,
    value: { hostIp, published: published.value, target: target.value, protocol: protocol.toLowerCase() },
  };
}

/** Ports to publish; a range becomes one entry for each port. */
export function readPorts(field: Field | undefined): PublishedPort[] {
  return (field?.items() ?? []).flatMap((item) => (item.node.kind === 'map' ? longPort(item) : shortPort(item)));
}

function shortPort(field: Field): PublishedPort[] {
  const port = field.parsed(parseShortPort);
  if (port === undefined) return [];
  return publish(field, port);
}

function publish(field: Field, { hostIp, published, target, protocol }: ShortPort): PublishedPort[] {
  const count = size(target);
  if (published !== undefined && size(published) !== count) {
    field.fail(
      `the published range has ${size(published)} ports and the container's has ${count}`,
      'give both ranges the same length, or leave the published port out to get a free one',
    );
    return [];
  }
  return Array.from({ length: count }, (_, index) => ({
    field,
    spec: {
      target: target.first + index,
      published: published === undefined ? 0 : published.first + index,
      protocol: protocols[protocol] ?? Protocol.PROTOCOL_TCP,
      hostIp: canonicalIp(hostIp),
    },
  }));
}

function longPort(field: Field): PublishedPort[] {
  if (!field.keys(portLevel)) return [];
  const targetField = field.get('target');
  if (targetField === undefined) {
    field.fail('a port needs a target', 'write `target: PORT`, the port in the container');
    return [];
  }
  const target = targetField.integer(1, 65_535);
  const published = field.get('published');
  const range = published === undefined || isZero(published) ? undefined : published.parsed(parseRange);
  const protocol = field.get('protocol')?.oneOf(protocolNames) ?? 'tcp';
  const hostIpField = field.get('host_ip');
  const hostIp = hostIpField?.string() ?? '';
  if (hostIpField !== undefined && hostIp !== '' && !isIp(hostIp)) {
    hostIpField.fail(`"${hostIp}" is not an IP address`, 'write an address of the host, or remove the key');
  }
  // On one host both modes are the same; name and app_protocol are notes for people and tools.
  field.get('mode')?.oneOf(['host', 'ingress']);
  field.get('name')?.string();
  field.get('app_protocol')?.string();
  if (target === undefined) return [];
  return publish(field, { hostIp, published: range, target: { first: target, last: target }, protocol });
}

function isZero(field: Field): boolean {
  return field.node.kind === 'scalar' && (field.node.text === '0' || field.node.text === '');
}

/** Ports that the service serves on its networks. */
export function readExpose(field: Field | undefined): ServedPort[] {
  return (field?.items() ?? []).flatMap((item): ServedPort[] => {
    const port = item.parsed(parseExposed);
    if (port === undefined) return [];
    const { range, protocol } = port;
    return Array.from({ length: size(range) }, (_, index) => ({
      field: item,
      spec: { port: range.first + index, protocol: protocols[protocol] ?? Protocol.PROTOCOL_TCP },
    }));
  });
}

function parseExposed(text: string): Parsed<{ readonly range: Range; readonly protocol: string }> {
  const split = text.indexOf('/');
  const [ports, protocol] = split < 0 ? [text, 'tcp'] : [text.slice(0, split), text.slice(split + 1)];
  if (!Object.hasOwn(protocols, protocol.toLowerCase())) {
    return { ok: false, message: `"${protocol}" is not a protocol`, remedy: 'use tcp, udp or sctp' };
  }
  const range = parseRange(ports);
  return range.ok ? { ok: true, value: { range: range.value, protocol: protocol.toLowerCase() } } : range;
}

function size(range: Range): number {
  return range.last - range.first + 1;
}

/** The name of a protocol as Compose writes it. */
export function protocolName(protocol: Protocol): string {
  return protocolNames.find((name) => protocols[name] === protocol) ?? 'tcp';
}
