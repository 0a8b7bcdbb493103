import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuthorityMaterial } from '@berth/identity';
import { createAuthority, createCsr, createKey, readCertificate, signIdentity } from '@berth/identity';
import type { Identity } from '@berth/kernel';
import { formatIdentity } from '@berth/kernel';
import type { Cluster } from '../cluster.ts';
import type { Caller } from './matrix.ts';
import type { Credentials } from './probe.ts';

/** Everybody who may knock, with what they show. */
export interface Cast {
  readonly callers: readonly Caller[];
  readonly credentials: Readonly<Record<string, Credentials>>;
  /** Identity of the host's own node. */
  readonly node: Identity & { readonly role: 'node' };
}

const services = ['registry', 'scheduler', 'network-manager', 'nats', 'signer'] as const;
const people = ['operator', 'reader', 'subscriber'] as const;
/** Who has business with NATS. */
const natsServices: readonly string[] = ['registry', 'scheduler', 'network-manager', 'nats'];

/** Takes certificates from where they lie, has people's issued, and makes those that nobody would give out. */
export async function castOf(cluster: Cluster): Promise<Cast> {
  const certs = join(cluster.stateDir, 'certs');
  const ca = readFileSync(join(cluster.stateDir, 'ca/cluster.pem'), 'utf8');
  const authority = { certPem: ca, keyPem: readFileSync(join(cluster.stateDir, 'ca/cluster-key.pem'), 'utf8') };
  const callers: Caller[] = [];
  const credentials: Record<string, Credentials> = {};
  const add = (name: string, identity: Identity | undefined, knownToNats: boolean, shown: Credentials): void => {
    callers.push({ name, identity, knownToNats });
    credentials[name] = shown;
  };

  add('none', undefined, false, { ca });
  const stranger = await createAuthority({ commonName: 'Berth cluster other', nowMs: Date.now() });
  const admin: Identity = { role: 'operator', name: 'admin' };
  add('another CA', undefined, false, { ...(await signed(stranger, admin)), ca });
  // Whoever holds a certificate of an etcd user holds none of the cluster.
  add('an etcd client', undefined, false, { ...folder(join(certs, 'etcd-client-scheduler')), ca });

  const shown = folder(join(certs, 'node'));
  const node = readCertificate(shown.cert ?? '').identity;
  if (node?.role !== 'node') throw new Error('certs/node holds no certificate of a node');
  add('node', node, true, shown);
  const { nodeId: id, ...other } = await joined(cluster);
  add('node of another id', { role: 'node', id }, true, other);
  // A certificate of the right CA for a node that never joined, and one for this node with another key.
  const unknown: Identity = { role: 'node', id: 'another0node0another0' };
  add('unknown node', unknown, false, { ...(await signed(authority, unknown)), ca });
  add('node with another key', node, true, { ...(await signed(authority, node)), ca });
  for (const name of services) {
    add(`service:${name}`, { role: 'service', name }, natsServices.includes(name), folder(join(certs, name)));
  }
  for (const role of people) {
    const out = join(cluster.configDir, `access-${role}`);
    await cluster.berth(['certificate', 'issue', role, 'access', '--out', out]);
    add(role, { role, name: 'access' }, true, folder(out));
  }
  return { callers, credentials, node };
}

/** A folder of `cert.pem`, `key.pem`, `ca.pem`. */
export function folder(path: string): Required<Credentials> {
  const read = (name: string): string => readFileSync(join(path, name), 'utf8');
  return { cert: read('cert.pem'), key: read('key.pem'), ca: read('ca.pem') };
}

/** Joins as one more node, which no agent stands behind. */
async function joined(cluster: Cluster): Promise<Required<Credentials> & { readonly nodeId: string }> {
  const { token } = await cluster.json<{ token: string }>(['cluster', 'token']);
  const { address } = cluster.host;
  const script = join(import.meta.dirname, 'join.ts');
  const out = await cluster.host.exec([process.execPath, script, token, `${address}:7402`, '198.18.255.254']);
  return JSON.parse(out) as Required<Credentials> & { readonly nodeId: string };
}

async function signed(authority: AuthorityMaterial, identity: Identity): Promise<{ cert: string; key: string }> {
  const key = await createKey();
  const csr = await createCsr(key, formatIdentity(identity));
  return { key, cert: await signIdentity(authority, { identity, csr, nowMs: Date.now() }) };
}
