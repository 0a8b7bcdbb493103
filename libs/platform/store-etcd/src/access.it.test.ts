import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuthorityMaterial } from '@berth/identity';
import { createAuthority, createCsr, createKey, signSubject } from '@berth/identity';
import { isBerthError, metaKeys } from '@berth/kernel';
import { MemoryLogger, SeededRng } from '@berth/memory';
import type { EtcdServer } from '@berth/testing-hosts';
import { startEtcd } from '@berth/testing-hosts';
import { eventually, MirrorFollower, realClock } from '@berth/testing-suites';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EtcdTls, EtcdTlsSource } from './client.ts';
import { controlPlaneOwners } from './etcd-admin.ts';
import type { EtcdStore } from './etcd-store.ts';
import { connectEtcd } from './etcd-store.ts';

let folder: string;
let etcd: EtcdServer;
let ca: AuthorityMaterial;
const stores: EtcdStore[] = [];

async function certificate(authority: AuthorityMaterial, commonName: string): Promise<EtcdTls> {
  const key = await createKey();
  const csr = await createCsr(key);
  const cert = await signSubject(authority, {
    csr,
    commonName,
    dnsNames: ['etcd'],
    addresses: ['127.0.0.1'],
    nowMs: Date.now(),
  });
  return { ca: ca.certPem, cert, key };
}

const ports = { clock: realClock, rng: new SeededRng(1), logger: new MemoryLogger() };

function connect(tls: EtcdTls | EtcdTlsSource): EtcdStore {
  const options = { endpoints: [etcd.endpoint], tls, serverName: 'etcd', ...ports };
  const store = connectEtcd(options);
  stores.push(store);
  return store;
}

/** Two users' certificates, one after the other: what etcd lets the store do shows which one it was shown. */
function renewable(first: EtcdTls): EtcdTlsSource & { renew(next: EtcdTls): void } {
  let current = first;
  const listeners = new Set<() => void>();
  return {
    current: () => current,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    renew: (next) => {
      current = next;
      for (const listener of listeners) listener();
    },
  };
}

const put = (key: string) => ({ compares: [], ops: [{ kind: 'put', key, value: new Uint8Array() }] }) as const;
const denied = (error: unknown) => isBerthError(error, 'PermissionDenied');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-etcd-access-'));
  ca = await createAuthority({ commonName: 'etcd of a test', nowMs: Date.now() });
  const server = await certificate(ca, 'etcd');
  const file = (name: string, text: string | Uint8Array): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  etcd = await startEtcd({
    tls: {
      certFile: file('server.pem', server.cert),
      keyFile: file('server.key', server.key),
      clientCaFile: file('ca.pem', ca.certPem),
    },
  });
  const root = connect(await certificate(ca, 'root'));
  await root.txn({
    compares: [],
    ops: [{ kind: 'put', key: metaKeys.epoch, value: new TextEncoder().encode('e1') }],
  });
  await root.admin.bootstrapAuth();
});
afterAll(async () => {
  for (const store of stores) store.close();
  await etcd.stop();
  rmSync(folder, { recursive: true });
});

describe('etcd lets in', () => {
  test.each(controlPlaneOwners)('$user to its own prefix, and to read meta/', async ({ user, prefix }) => {
    const store = connect(await certificate(ca, user));
    expect((await store.txn(put(`${prefix}/x/1`))).committed).toBe(true);
    expect((await store.list(`${prefix}/`)).entries).toHaveLength(1);
    expect(await store.epoch()).toBe('e1');
    const follower = new MirrorFollower(store, `${prefix}/`);
    await eventually(() => follower.resets === 1);
    await follower.stop();
    const leadership = await store.campaign(`${prefix}/leader/x`, 'me', {
      ttlMs: 2_000,
      signal: new AbortController().signal,
    });
    await leadership.resign();
  });

  test.each(controlPlaneOwners)('$user to no other prefix: put, get, list, watch, meta/ to write', async ({ user }) => {
    const store = connect(await certificate(ca, user));
    const foreign = [...controlPlaneOwners.filter((owner) => owner.user !== user).map(({ prefix }) => prefix), 'other'];
    for (const prefix of foreign) {
      await expect(store.txn(put(`${prefix}/x/1`))).rejects.toSatisfy(denied);
      await expect(store.txn({ compares: [], ops: [{ kind: 'delete', key: `${prefix}/x/1` }] })).rejects.toSatisfy(
        denied,
      );
      await expect(store.get(`${prefix}/x/1`)).rejects.toSatisfy(denied);
      await expect(store.list(`${prefix}/`)).rejects.toSatisfy(denied);
      for (const since of [undefined, { epoch: 'e1', revision: 1 }]) {
        const follower = new MirrorFollower(store, `${prefix}/`, { since });
        await follower.done;
        expect(follower.error).toSatisfy(denied);
      }
    }
    await expect(store.list('')).rejects.toSatisfy(denied);
    await expect(store.txn(put(metaKeys.epoch))).rejects.toSatisfy(denied);
    await expect(store.admin.bootstrapAuth()).rejects.toSatisfy(denied);
  });

  test('nobody whose name is no user', async () => {
    const store = connect(await certificate(ca, 'node:abc'));
    await expect(store.get(metaKeys.epoch)).rejects.toSatisfy(
      (error) => denied(error) || isBerthError(error, 'Unauthenticated') || isBerthError(error, 'InvalidArgument'),
    );
  });

  test('no certificate of another CA: the handshake fails', async () => {
    const other = await createAuthority({ commonName: 'Berth cluster', nowMs: Date.now() });
    const store = connect(await certificate(other, 'root'));
    await expect(store.get(metaKeys.epoch)).rejects.toSatisfy((error) => isBerthError(error, 'Unavailable'));
    await eventually(() => /rejected connection.*(unknown authority|bad certificate)/.test(etcd.log()));
  });

  test('clients only to a server with the name they expect', async () => {
    const options = { endpoints: [etcd.endpoint], tls: await certificate(ca, 'root'), serverName: 'not-etcd' };
    const store = connectEtcd({ ...options, ...ports });
    stores.push(store);
    await expect(store.get(metaKeys.epoch)).rejects.toSatisfy((error) => isBerthError(error, 'Unavailable'));
  });

  test('root to everything; bootstrap runs again without harm', async () => {
    const root = connect(await certificate(ca, 'root'));
    await root.admin.bootstrapAuth();
    expect((await root.list('')).entries.length).toBeGreaterThan(0);
    expect(await root.admin.status()).toMatchObject({ version: expect.stringMatching(/^3\./), alarms: [] });
  });
});

test('a renewed certificate is used for new connections; what is open goes on', async () => {
  const [registry, scheduler] = [await certificate(ca, 'registry'), await certificate(ca, 'scheduler')];
  const tls = renewable(registry);
  const options = { endpoints: [etcd.endpoint], tls, serverName: 'etcd' };
  const store = connectEtcd({ ...options, ...ports });
  stores.push(store);
  const follower = new MirrorFollower(store, 'registry/');
  const lease = await store.lease(2_000);
  await eventually(() => follower.resets === 1);
  // Its keep-alives have a stream of their own by then.
  await realClock.sleep(1_000);

  tls.renew(scheduler);
  await expect(store.txn(put('registry/x/renewed'))).rejects.toSatisfy(denied);
  expect((await store.txn(put('scheduler/x/renewed'))).committed).toBe(true);

  // Longer than the lease would last without keep-alives.
  await realClock.sleep(3_000);
  const writer = connect(registry);
  const { revision } = await writer.txn(put('registry/x/after'));
  await eventually(() => follower.revision.revision >= revision);
  expect(follower.resets).toBe(1);
  expect(lease.lost.aborted).toBe(false);
  await follower.stop();
  await lease.revoke();
});
