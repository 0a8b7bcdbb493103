import { MemoryDisk } from '@berth/memory';
import { describe, expect, it } from 'vitest';
import { createAuthority, signIdentity } from './authority.ts';
import { CertStore } from './cert-store.ts';
import { readCertificate } from './certificate.ts';
import { createCsr } from './request.ts';

describe('a folder of certificates', () => {
  it('keeps one key over renewals, so that a renewal replaces one file', async () => {
    const disk = new MemoryDisk();
    const nowMs = Date.UTC(2030, 0, 1);
    const authority = await createAuthority({ commonName: 'test', nowMs });
    const store = new CertStore(disk, 'certs/node');
    expect(await store.load()).toBeUndefined();
    const key = await store.key();
    const issue = async (at: number): Promise<void> => {
      const csr = await createCsr(await store.key());
      const cert = await signIdentity(authority, { identity: { role: 'node', id: 'n1' }, csr, nowMs: at });
      await store.save({ cert, ca: authority.certPem });
    };
    await issue(nowMs);
    const first = await new CertStore(disk, 'certs/node').load();
    await issue(nowMs + 1_000);
    const second = await store.load();
    expect(first).toMatchObject({ key, ca: authority.certPem });
    expect(second?.key).toBe(key);
    expect(readCertificate(second?.cert ?? '').notAfterMs).toBe(readCertificate(first?.cert ?? '').notAfterMs + 1_000);
    expect(await disk.list('certs/node')).toEqual(['ca.pem', 'cert.pem', 'key.pem']);
  });
});
