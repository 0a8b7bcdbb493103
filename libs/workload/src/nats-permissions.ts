import type { Identity } from '@berth/kernel';
import { dnsNameOf } from '@berth/kernel';

/** Owners of event logs: the identity's name, and the token that stands for it in subjects, streams and etcd prefixes. */
export const eventOwners = [
  { service: 'registry', owner: 'registry' },
  { service: 'scheduler', owner: 'scheduler' },
  { service: 'network-manager', owner: 'network' },
] as const;

/** JetStream stream in which an owner keeps its events, in the account of Berth's own. */
export function logOf(owner: string): string {
  return `LOG_${owner.toUpperCase()}`;
}

/** JetStream stream in which people and programs from outside find an owner's events: a copy, in an account of theirs. */
export function streamOf(owner: string): string {
  return `BERTH_${owner.toUpperCase()}`;
}

/** Where the server fetches the copies, seen from the outsiders' account; no user may speak there. */
export const copyRoute = { api: 'berth-copy.api', deliver: 'berth-copy.deliver' } as const;

/**
 * Accounts of NATS: worlds of subjects that meet only where the configuration says so. Services and nodes are in `BERTH`;
 * whoever reads events from outside is in `READERS`, which hears what BERTH publishes and can send it nothing: whatever a
 * consumer there is told to deliver, and wherever, no agent hears it.
 */
export type NatsAccount = 'BERTH' | 'READERS';

/** One NATS user: a certificate with this DNS name may publish and subscribe to these subjects and no others. */
export interface NatsUser {
  readonly name: string;
  readonly account: NatsAccount;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

const replies = '_INBOX.>';

/**
 * What an identity may do on NATS; undefined for one that has no business there.
 * - A service publishes its own kinds and keeps its own stream.
 * - A node only listens: topology (endpoints, members, networks), heads and beacons. It cannot ask for anything.
 * - Operators, readers and subscribers listen to all changes and read copies of the streams through consumers of their own.
 * - The manager's agent makes those copies, with the certificate of NATS itself.
 */
export function natsUserOf(identity: Identity): NatsUser | undefined {
  switch (identity.role) {
    case 'service': {
      if (identity.name === 'nats') return { name: dnsNameOf(identity), account: 'READERS', ...copyRights() };
      const owner = eventOwners.find(({ service }) => service === identity.name)?.owner;
      return owner === undefined ? undefined : { name: dnsNameOf(identity), account: 'BERTH', ...ownerRights(owner) };
    }
    case 'node':
      return {
        name: dnsNameOf(identity),
        account: 'BERTH',
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
        account: 'READERS',
        publish: ['$JS.API.INFO', ...eventOwners.flatMap(({ owner }) => readerRights(streamOf(owner)))],
        subscribe: ['berth.*.changes.>', 'berth.*.head.>', 'berth.*.beacon', replies],
      };
    default:
      return undefined;
  }
}

function copyRights(): Pick<NatsUser, 'publish' | 'subscribe'> {
  const calls = ['CREATE', 'UPDATE', 'INFO'];
  const api = eventOwners.flatMap(({ owner }) => calls.map((call) => `$JS.API.STREAM.${call}.${streamOf(owner)}`));
  return { publish: ['$JS.API.INFO', ...api], subscribe: [replies] };
}

function ownerRights(owner: string): Pick<NatsUser, 'publish' | 'subscribe'> {
  const stream = logOf(owner);
  const api = ['CREATE', 'UPDATE', 'INFO', 'MSG.GET'].map((call) => `$JS.API.STREAM.${call}.${stream}`);
  const direct = [`$JS.API.DIRECT.GET.${stream}`, `$JS.API.DIRECT.GET.${stream}.>`];
  return { publish: [`berth.${owner}.>`, '$JS.API.INFO', ...api, ...direct], subscribe: [replies] };
}

/**
 * Reading a stream through consumers. Not: changing or purging the stream. A limit of NATS: who may create a consumer
 * chooses where it delivers, with the server's rights, and consumers have no owner. So readers can disturb each other; the
 * account is what keeps them away from Berth.
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
 * The text of `users.conf`, which `nats.conf` includes: the accounts with all users there are. One that is missing cannot
 * connect, and is cut off at the next reload. Sorted, so that the same identities give the same text.
 */
export function natsUsersConf(identities: readonly Identity[]): string {
  const users = new Map(identities.map(natsUserOf).flatMap((user) => (user ? [[user.name, user] as const] : [])));
  const sorted = [...users.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const account = (name: NatsAccount, meets: readonly string[]): string[] => [
    `  ${name} {`,
    '    jetstream: enabled',
    '    users = [',
    ...sorted.filter((user) => user.account === name).map(userLine),
    '    ]',
    ...meets,
    '  }',
  ];
  return [
    '# Made by the host-agent from the identities of the cluster; changes by hand are lost.',
    'accounts {',
    ...account('BERTH', exportsToReaders()),
    ...account('READERS', importsOfReaders()),
    '}',
    '',
  ].join('\n');
}

/** What readers hear as it happens. */
const heard = ['berth.*.changes.>', 'berth.*.head.>', 'berth.*.beacon'];

/** Of each log: what the server needs to copy it, and what is for outsiders' ears. */
function exportsToReaders(): string[] {
  const only = 'accounts: [READERS]';
  return [
    '    exports = [',
    ...[...heard, `${copyRoute.deliver}.>`].map((subject) => `      { stream: ${quoted(subject)}, ${only} }`),
    ...copyServices().map(({ subject, stream }) => {
      return `      { service: ${quoted(subject)}, ${stream ? 'response: stream, ' : ''}${only} }`;
    }),
    '    ]',
  ];
}

function importsOfReaders(): string[] {
  const from = (subject: string): string => `{ account: BERTH, subject: ${quoted(subject)} }`;
  return [
    '    imports = [',
    ...[...heard, `${copyRoute.deliver}.>`].map((subject) => `      { stream: ${from(subject)} }`),
    ...copyServices().map(({ subject }) => {
      const to = subject.startsWith('$JS.API.') ? `, to: ${quoted(subject.replace('$JS.API', copyRoute.api))}` : '';
      return `      { service: ${from(subject)}${to} }`;
    }),
    '    ]',
  ];
}

function copyServices(): { readonly subject: string; readonly stream: boolean }[] {
  return eventOwners.flatMap(({ owner }) => [
    { subject: `$JS.API.CONSUMER.CREATE.${logOf(owner)}`, stream: true },
    { subject: `$JS.API.CONSUMER.CREATE.${logOf(owner)}.>`, stream: true },
    { subject: `$JS.API.STREAM.INFO.${logOf(owner)}`, stream: false },
    { subject: `$JS.FC.${logOf(owner)}.>`, stream: false },
  ]);
}

function userLine({ name, publish, subscribe }: NatsUser): string {
  const rights = `publish: ${rule(publish)}, subscribe: ${rule(subscribe)}`;
  return `      { user: ${quoted(name)}, permissions: { ${rights} } }`;
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
  /** Most that all streams and their copies may hold on disk. Default 8 GiB. */
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
    `  max_file_store: ${options.storeBytesMax ?? 8 * 2 ** 30}`,
    '}',
    'include "./users.conf"',
    '',
  ].join('\n');
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/gu, '\\$&')}"`;
}
