import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Identity } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuthorityMaterial } from './authority.ts';
import { caDigest, createAuthority, signIdentity, signSubject, trustDigest, trusts } from './authority.ts';
import { readCertificate, renewalAtMs } from './certificate.ts';
import { lifetimes } from './lifetimes.ts';
import { createCsr, createKey, csrKeySha256 } from './request.ts';

const nowMs = Date.UTC(2030, 0, 1);
const node: Identity = { role: 'node', id: 'abc123' };
let authority: AuthorityMaterial;
let folder: string;

beforeAll(async () => {
  authority = await createAuthority({ commonName: 'Berth cluster test', nowMs });
  folder = mkdtempSync(join(tmpdir(), 'berth-identity-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe('a certificate authority', () => {
  it('gives the names of the identity that was asked for, whatever the CSR says', async () => {
    const csr = await createCsr(await createKey(), 'operator:admin');
    const pem = await signIdentity(authority, { identity: node, csr, addresses: ['198.18.0.7', 'fd00::7'], nowMs });
    const facts = readCertificate(pem);
    expect(facts.identity).toEqual(node);
    expect(facts.commonName).toBe('node:abc123');
    expect(facts.dnsNames).toEqual(['abc123.node.berth']);
    expect(facts.addresses).toEqual(['198.18.0.7', 'fd00::7']);
    expect(facts.notBeforeMs).toBe(nowMs - lifetimes.backdatingMs);
    expect(facts.notAfterMs).toBe(nowMs + lifetimes.certificateMs);
    expect(facts.publicKeySha256).toBe(await csrKeySha256(csr));
    expect(facts.serial).toMatch(/^[0-9a-f]{32}$/u);
  });

  it('keeps the key hash over a renewal with the same key, and takes another serial', async () => {
    const key = await createKey();
    const first = readCertificate(await signIdentity(authority, { identity: node, csr: await createCsr(key), nowMs }));
    const second = readCertificate(await signIdentity(authority, { identity: node, csr: await createCsr(key), nowMs }));
    expect(second.publicKeySha256).toBe(first.publicKeySha256);
    expect(second.serial).not.toBe(first.serial);
  });

  it('never signs beyond its own end', async () => {
    const lifetimeMs = 100 * lifetimes.caMs;
    const pem = await signIdentity(authority, {
      identity: node,
      csr: await createCsr(await createKey()),
      nowMs,
      lifetimeMs,
    });
    expect(readCertificate(pem).notAfterMs).toBe(readCertificate(authority.certPem).notAfterMs);
  });

  it('is believed by openssl, for client and server, and only with its own CA', async () => {
    const now = Date.now();
    const real = await createAuthority({ commonName: 'Berth cluster real', nowMs: now });
    const other = await createAuthority({ commonName: 'Berth cluster real', nowMs: now });
    const keyPem = await createKey();
    const identity: Identity = { role: 'service', name: 'registry' };
    const pem = await signIdentity(real, {
      identity,
      csr: await createCsr(keyPem),
      addresses: ['127.0.0.1'],
      nowMs: now,
    });
    const [ca, wrongCa, cert, key] = [
      file('ca.pem', real.certPem),
      file('other.pem', other.certPem),
      file('cert.pem', pem),
      file('key.pem', keyPem),
    ];
    const openssl = (...args: string[]): string => execFileSync('openssl', args, { encoding: 'utf8', stdio: 'pipe' });
    for (const purpose of ['sslclient', 'sslserver']) {
      const name = ['-verify_hostname', 'registry.service.berth', '-verify_ip', '127.0.0.1'];
      expect(openssl('verify', '-x509_strict', '-CAfile', ca, '-purpose', purpose, ...name, cert)).toContain('OK');
    }
    expect(() => openssl('verify', '-CAfile', wrongCa, cert)).toThrow(/verif/u);
    expect(() => openssl('verify', '-CAfile', ca, '-verify_hostname', 'scheduler.service.berth', cert)).toThrow(
      /mismatch/u,
    );
    expect(openssl('x509', '-in', cert, '-noout', '-pubkey')).toBe(openssl('pkey', '-in', key, '-pubout'));
    const fingerprint = openssl('x509', '-in', ca, '-noout', '-fingerprint', '-sha256').trim().split('=')[1];
    expect(fingerprint?.replaceAll(':', '').toLowerCase()).toBe(Buffer.from(caDigest(real.certPem)).toString('hex'));
  });

  it('reads a CSR that openssl made', async () => {
    const key = join(folder, 'o-key.pem');
    const der = join(folder, 'o.csr');
    execFileSync('openssl', ['ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', key]);
    execFileSync('openssl', [
      'req',
      '-new',
      '-key',
      key,
      '-subj',
      '/CN=service:scheduler',
      '-outform',
      'DER',
      '-out',
      der,
    ]);
    const { readFileSync } = await import('node:fs');
    const pem = await signIdentity(authority, { identity: node, csr: readFileSync(der), nowMs });
    expect(readCertificate(pem).commonName).toBe('node:abc123');
  });

  it('signs etcd users by name', async () => {
    const csr = await createCsr(await createKey());
    const facts = readCertificate(await signSubject(authority, { csr, commonName: 'root', dnsNames: [], nowMs }));
    expect(facts).toMatchObject({ commonName: 'root', identity: undefined, dnsNames: [] });
  });

  it.each([
    ['garbage', () => Promise.resolve(new Uint8Array([1, 2, 3]))],
    ['one that is too large', () => Promise.resolve(new Uint8Array(10_000))],
    [
      'one whose signature was touched',
      async () => {
        const csr = await createCsr(await createKey());
        csr[csr.length - 3] = (csr[csr.length - 3] ?? 0) ^ 1;
        return csr;
      },
    ],
    [
      'one with an RSA key',
      async () => {
        const key = join(folder, 'rsa.pem');
        const der = join(folder, 'rsa.csr');
        execFileSync('openssl', ['genrsa', '-out', key, '2048'], { stdio: 'pipe' });
        execFileSync('openssl', ['req', '-new', '-key', key, '-subj', '/CN=x', '-outform', 'DER', '-out', der]);
        const { readFileSync } = await import('node:fs');
        return readFileSync(der);
      },
    ],
  ])('refuses %s as CSR', async (_what, make) => {
    const error = await signIdentity(authority, { identity: node, csr: await make(), nowMs }).catch((e: unknown) => e);
    expect(isBerthError(error, 'InvalidArgument', 'BAD_CSR')).toBe(true);
  });

  it('refuses an address that is none', async () => {
    const csr = await createCsr(await createKey());
    const error = await signIdentity(authority, { identity: node, csr, addresses: ['web'], nowMs }).catch(
      (e: unknown) => e,
    );
    expect(isBerthError(error, 'InvalidArgument', 'BAD_ADDRESS')).toBe(true);
  });
});

describe('several CAs to trust', () => {
  it('have the digest of the first for tokens, and one digest in order for who compares', async () => {
    const other = await createAuthority({ commonName: 'Berth cluster next', nowMs });
    const [a, b] = [authority.certPem, other.certPem];
    expect(caDigest(a + b)).toEqual(caDigest(a));
    expect(trusts(a + b, caDigest(b))).toBe(true);
    expect(trusts(a, caDigest(b))).toBe(false);
    expect(new Set([a, b, a + b, b + a].map(trustDigest)).size).toBe(4);
    expect(trustDigest(`${a.trimEnd()}\n\n${b}`)).toBe(trustDigest(a + b));
  });
});

describe('renewal', () => {
  it('comes at half of the lifetime, give or take a tenth', () => {
    // From when it was issued; it is valid from an hour before.
    const certificate = { notBeforeMs: 1_000 - lifetimes.backdatingMs, notAfterMs: 2_000 };
    expect([0, 0.5, 1].map((random) => renewalAtMs(certificate, random))).toEqual([1_400, 1_500, 1_600]);
  });

  it('cannot read what is no certificate', () => {
    expect(() => readCertificate('hello')).toThrow(/no readable certificate/u);
  });
});
