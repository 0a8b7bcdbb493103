import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuthorityMaterial } from '@berth/identity';
import { createAuthority, createCsr, createKey, signSubject } from '@berth/identity';
import { isBerthError, metaKeys } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import type { EtcdStore } from '@berth/store-etcd';
import { connectEtcd } from '@berth/store-etcd';
import type { EtcdServer } from '@berth/testing-hosts';
import { startEtcd } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder: string;
let ca: AuthorityMaterial;
let etcd: EtcdServer;
const stores: EtcdStore[] = [];

async function certificate(
  commonName: string,
): Promise<{ readonly cert: string; readonly key: string; readonly ca: string }> {
  const key = await createKey();
  const csr = await createCsr(key);
  const names = { commonName, dnsNames: ['localhost'], addresses: ['127.0.0.1'] };
  return { cert: await signSubject(ca, { csr, ...names, nowMs: Date.now() }), key, ca: ca.certPem };
}

async function certificateFolder(commonName: string): Promise<string> {
  const path = join(folder, commonName);
  mkdirSync(path);
  const files = await certificate(commonName);
  for (const name of ['cert', 'key', 'ca'] as const) writeFileSync(join(path, `${name}.pem`), files[name]);
  return path;
}

async function connect(commonName: string): Promise<EtcdStore> {
  const tls = await certificate(commonName);
  const store = connectEtcd({
    endpoints: [etcd.endpoint],
    tls,
    clock: new SystemClock(),
    rng: new SystemRng(),
    logger: silentLogger,
  });
  stores.push(store);
  return store;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-bootstrap-'));
  ca = await createAuthority({ commonName: 'etcd of a test', nowMs: Date.now() });
  const server = await certificateFolder('server');
  etcd = await startEtcd({
    tls: {
      certFile: join(server, 'cert.pem'),
      keyFile: join(server, 'key.pem'),
      clientCaFile: join(server, 'ca.pem'),
    },
  });
});
afterAll(async () => {
  for (const store of stores) store.close();
  await etcd.stop();
  rmSync(folder, { recursive: true });
});

function run(args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  const main = join(import.meta.dirname, 'main.ts');
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, output: stdout + stderr });
    });
  });
}

describe('the bootstrap process', () => {
  it('prepares a real etcd, exits 0, and may run again; another cluster exits 1', async () => {
    const root = await certificateFolder('root');
    const args = ['--etcd-endpoints', etcd.endpoint, '--etcd-certs', root, '--token-sha256', 'b'.repeat(64)];
    const first = await run([...args, '--cluster-id', 'c1']);
    expect(first, first.output).toMatchObject({ code: 0 });
    const registry = await connect('registry');
    const epoch = await registry.epoch();
    expect(await registry.list('registry/token/')).toMatchObject({
      entries: [{ key: `registry/token/${'b'.repeat(64)}` }],
    });
    expect((await registry.get(metaKeys.settings)).entry?.value.length).toBeGreaterThan(0);
    const scheduler = await connect('scheduler');
    const denied = await scheduler.list('registry/').catch((error: unknown) => error);
    expect(isBerthError(denied, 'PermissionDenied')).toBe(true);

    expect(await run([...args, '--cluster-id', 'c1'])).toMatchObject({ code: 0 });
    expect(await registry.epoch()).toBe(epoch);

    const other = await run([...args, '--cluster-id', 'c2']);
    expect(other.code).toBe(1);
    expect(other.output).toContain('this etcd belongs to cluster c1, not c2');
  });

  it('names the bad setting and exits 2', async () => {
    const { code, output } = await run([
      '--etcd-endpoints',
      etcd.endpoint,
      '--cluster-id',
      'C 1',
      '--token-sha256',
      'b'.repeat(64),
    ]);
    expect(code).toBe(2);
    expect(output).toContain('--cluster-id (BERTH_CLUSTER_ID)');
  });

  it('waits no longer than it was told to', async () => {
    const root = join(folder, 'root');
    const args = ['--etcd-endpoints', 'https://127.0.0.1:1', '--etcd-certs', root, '--token-sha256', 'b'.repeat(64)];
    const started = performance.now();
    const { code } = await run([...args, '--cluster-id', 'c1', '--wait-limit-ms', '1000']);
    expect(code).toBe(1);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});
