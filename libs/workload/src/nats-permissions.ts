import type { Identity } from '@berth/kernel';
import { dnsNameOf } from '@berth/kernel';

/** Owners of event logs: the identity's name, and the token that stands for it in subjects, streams and etcd prefixes. */
export const eventOwners = [
  { service: 'registry', owner: 'registry' },
  { service: 'scheduler', owner: 'scheduler' },
  { service: 'network-manager', owner: 'network' },
] as const;

/** JetStream stream of an owner's events. */
export function streamOf(owner: string): string {
  return `BERTH_${owner.toUpperCase()}`;
}

/** One NATS user: a certificate with this DNS name may publish and subscribe to these subjects and no others. */
export interface NatsUser {
  readonly name: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

const replies = '_INBOX.>';

/**
 * What an identity may do on NATS; undefined for one that has no business there.
 * - A service publishes its own kinds and keeps its own stream.
 * - A node only listens: topology (endpoints, members, networks), heads and beacons. It cannot ask for anything.
 * - Operators, readers and subscribers listen to all changes and read the streams through consumers of their own.
 */
export function natsUserOf(identity: Identity): NatsUser | undefined {
  switch (identity.role) {
    case 'service': {
      const owner = eventOwners.find(({ service }) => service === identity.name)?.owner;
      return owner === undefined ? undefined : { name: dnsNameOf(identity), ...ownerRights(owner) };
    }
    case 'node':
      return {
        name: dnsNameOf(identity),
        publish: [],
        subscribe: ['registry', 'network'].flatMap((owner) => [
          `berth.${owner}.changes.>`,
          `berth.${owner}.head.>`,
          `berth.${owner}.beacon`,
        ]),
      };
    case 'operator':
    case 'reader':
    case 'subscriber':
      return {
        name: dnsNameOf(identity),
        publish: ['$JS.API.INFO', ...eventOwners.flatMap(({ owner }) => readerRights(streamOf(owner)))],
        subscribe: ['berth.*.changes.>', 'berth.*.head.>', 'berth.*.beacon', replies],
      };
    default:
      return undefined;
  }
}

function ownerRights(owner: string): Pick<NatsUser, 'publish' | 'subscribe'> {
  const stream = streamOf(owner);
  const api = ['CREATE', 'UPDATE', 'INFO', 'MSG.GET'].map((call) => `$JS.API.STREAM.${call}.${stream}`);
  const direct = [`$JS.API.DIRECT.GET.${stream}`, `$JS.API.DIRECT.GET.${stream}.>`];
  return { publish: [`berth.${owner}.>`, '$JS.API.INFO', ...api, ...direct], subscribe: [replies] };
}

/**
 * Reading a stream through consumers. Not: changing or purging the stream. A limit of NATS: who may create a consumer
 * chooses where it delivers, with the server's rights, also to subjects of other owners; and consumers have no owner. So a
 * reader of events checks what an event says of itself, and a publisher does not go on from somebody else's.
 */
function readerRights(stream: string): string[] {
  return [
    `$JS.API.STREAM.INFO.${stream}`,
    `$JS.API.STREAM.MSG.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}.>`,
    `$JS.API.CONSUMER.CREATE.${stream}`,
    `$JS.API.CONSUMER.CREATE.${stream}.>`,
    `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.*`,
    `$JS.API.CONSUMER.INFO.${stream}.*`,
    `$JS.API.CONSUMER.DELETE.${stream}.*`,
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
    `$JS.ACK.${stream}.>`,
    `$JS.FC.${stream}.>`,
  ];
}

/**
 * The text of `users.conf`, which `nats.conf` includes: all users there are. One that is missing cannot connect, and is
 * cut off at the next reload. Sorted, so that the same identities give the same text.
 */
export function natsUsersConf(identities: readonly Identity[]): string {
  const users = new Map(identities.map(natsUserOf).flatMap((user) => (user ? [[user.name, user] as const] : [])));
  const lines = [...users.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(userLine);
  return [
    '# Made by the host-agent from the identities of the cluster; changes by hand are lost.',
    'users = [',
    ...lines,
    ']',
    '',
  ].join('\n');
}

function userLine({ name, publish, subscribe }: NatsUser): string {
  const rights = `publish: ${rule(publish)}, subscribe: ${rule(subscribe)}`;
  return `  { user: ${quoted(name)}, permissions: { ${rights} } }`;
}

function rule(subjects: readonly string[]): string {
  return subjects.length === 0 ? '{ deny: ">" }' : `{ allow: [${subjects.map(quoted).join(', ')}] }`;
}

export interface NatsConfOptions {
  /** Address to listen on. */
  readonly host: string;
  readonly port: number;
  /** Port of /healthz and /varz, without a certificate, on 127.0.0.1 only. Default: none. */
  readonly httpPort?: number;
  /** Shown in logs and by clients. */
  readonly serverName: string;
  /** Folder of `cert.pem`, `key.pem`, `ca.pem` as the server sees it; the CA is the cluster's. */
  readonly certs: string;
  /** Folder of the streams, as the server sees it. */
  readonly storeDir: string;
  /** Most that all streams may hold on disk. Default 4 GiB. */
  readonly storeBytesMax?: number;
}

/** The text of `nats.conf`, beside which `users.conf` must lie. */
export function natsConf(options: NatsConfOptions): string {
  const file = (name: string): string => quoted(`${options.certs}/${name}`);
  return [
    '# Made by the host-agent; changes by hand are lost.',
    `listen: ${quoted(`${options.host.includes(':') ? `[${options.host}]` : options.host}:${options.port}`)}`,
    `server_name: ${quoted(options.serverName)}`,
    ...(options.httpPort === undefined ? [] : [`http: "127.0.0.1:${options.httpPort}"`]),
    '# An event holds at least one whole change, and a change may hold all labels of a service.',
    'max_payload: 8MB',
    '# A client that is gone without a word is noticed within 3 s.',
    'ping_interval: "1s"',
    'ping_max: 2',
    'tls {',
    `  cert_file: ${file('cert.pem')}`,
    `  key_file: ${file('key.pem')}`,
    `  ca_file: ${file('ca.pem')}`,
    '  # Nobody without a certificate of the cluster; its DNS name is the user.',
    '  verify_and_map: true',
    '  timeout: 5',
    '}',
    'jetstream {',
    `  store_dir: ${quoted(options.storeDir)}`,
    `  max_file_store: ${options.storeBytesMax ?? 4 * 2 ** 30}`,
    '}',
    'authorization {',
    '  include "./users.conf"',
    '}',
    '',
  ].join('\n');
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/gu, '\\$&')}"`;
}
