import {
  CertStore,
  caDigest,
  createAuthority,
  formatJoinToken,
  newTokenSecret,
  signIdentity,
  trustDigest,
} from '@berth/identity';
import { MemoryDisk, MemoryLogger, SeededRng, VirtualClock } from '@berth/memory';
import { expect, test } from 'vitest';
import { NodeCertificates } from './node-certificate.ts';

const day = 86_400_000;

test('the key stays over joins and renewals; a certificate is due at half of its life and expires', async () => {
  const clock = new VirtualClock();
  const store = new CertStore(new MemoryDisk(), 'certs/node');
  const ports = { clock, rng: new SeededRng(1), logger: new MemoryLogger() };
  const certificates = new NodeCertificates({ ...ports, store, joinAddresses: [] });
  expect(await certificates.ended(undefined)).toMatch(/gone/u);
  const ca = await createAuthority({ commonName: 'ca', nowMs: clock.wall() });
  const identity = { role: 'node', id: 'n1' } as const;
  const sign = async () => signIdentity(ca, { csr: await certificates.csr(), identity, nowMs: clock.wall() });
  await certificates.save({ cert: await sign(), ca: ca.certPem });
  const key = (await store.load())?.key;
  const due = (await certificates.renewalAtMs(0.5)) - clock.wall();
  expect(due / day).toBeGreaterThan(44);
  expect(due / day).toBeLessThan(46);
  await clock.advance(91 * day);
  expect(await certificates.ended(undefined)).toMatch(/ended at/u);
  await certificates.save({ cert: await sign(), ca: ca.certPem });
  expect(await certificates.ended(undefined)).toBeUndefined();
  // A token that was put there says whether the CA is still the cluster's; a damaged one says nothing.
  const other = await createAuthority({ commonName: 'next', nowMs: clock.wall() });
  const tokenOf = (pem: string) => formatJoinToken({ caDigest: caDigest(pem), secret: newTokenSecret(ports.rng) });
  expect(await certificates.ended(tokenOf(ca.certPem))).toBeUndefined();
  expect(await certificates.ended(tokenOf(other.certPem))).toMatch(/another one now/u);
  expect(await certificates.ended('BRTHTKN-1-x-y')).toBeUndefined();
  expect(await certificates.trustSha256()).toBe(trustDigest(ca.certPem));
  expect((await store.load())?.key).toBe(key);
});

test('a join token that is damaged is refused before anybody is asked', async () => {
  const store = new CertStore(new MemoryDisk(), 'certs/node');
  const ports = { clock: new VirtualClock(), rng: new SeededRng(1), logger: new MemoryLogger() };
  const certificates = new NodeCertificates({ ...ports, store, joinAddresses: ['198.18.0.1:7402'] });
  const request = { csr: Buffer.from(await certificates.csr()), node: undefined, hello: undefined };
  await expect(certificates.join('BRTHTKN-1-x-y', request)).rejects.toMatchObject({ reason: 'BAD_TOKEN' });
});
