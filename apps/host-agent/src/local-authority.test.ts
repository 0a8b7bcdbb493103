import { X509Certificate } from 'node:crypto';
import { ControlPlaneCertificates, wantedCertificates } from '@berth/agent';
import { createCsr, createKey, parseJoinToken } from '@berth/identity';
import { MemoryDisk, MemoryLogger, SeededRng, VirtualClock } from '@berth/memory';
import { describe, expect, it } from 'vitest';
import { LocalAuthority } from './local-authority.ts';

const day = 86_400_000;

async function setUp() {
  const disk = new MemoryDisk();
  const clock = new VirtualClock();
  const authority = new LocalAuthority({ disk, clock, rng: new SeededRng(1) });
  await authority.create('c1');
  const read = async (name: string) => new TextDecoder().decode(await disk.read(name));
  const certificate = async (folder: string) => new X509Certificate(await read(`certs/${folder}/cert.pem`));
  return { disk, clock, authority, read, certificate };
}

describe("a manager's authority", () => {
  it('issues every certificate of the control plane, verified by its own CA and no other', async () => {
    const { clock, authority, read, certificate } = await setUp();
    await new ControlPlaneCertificates({
      authority,
      address: '198.18.0.1',
      clock,
      log: new MemoryLogger(),
    }).ensure();
    const cas = {
      cluster: new X509Certificate(await read('ca/cluster.pem')),
      etcd: new X509Certificate(await read('ca/etcd.pem')),
    };
    for (const { folder, subject } of wantedCertificates('198.18.0.1')) {
      const issued = await certificate(folder);
      const other = subject.ca === 'etcd' ? 'cluster' : 'etcd';
      expect([folder, issued.verify(cas[subject.ca].publicKey), issued.verify(cas[other].publicKey)]).toEqual([
        folder,
        true,
        false,
      ]);
      expect(await read(`certs/${folder}/ca.pem`)).toBe(await read(`ca/${subject.ca}.pem`));
    }
    expect((await certificate('etcd-client-bootstrap')).subject).toBe('CN=root');
    expect((await certificate('registry')).checkHost('registry.service.berth')).toBe('registry.service.berth');
    expect((await certificate('registry')).checkIP('198.18.0.1')).toBe('198.18.0.1');
  });

  it('says when a certificate is due: at about half of its life, and at once when what is wanted has changed', async () => {
    const { clock, authority } = await setUp();
    const [wanted] = wantedCertificates('198.18.0.1');
    expect(await authority.dueAtMs(wanted!)).toBe(0);
    await authority.issue(wanted!);
    const days = ((await authority.dueAtMs(wanted!)) - clock.wall()) / day;
    expect(days).toBeGreaterThan(35);
    expect(days).toBeLessThan(55);
    expect(await authority.dueAtMs(wanted!)).toBe(await authority.dueAtMs(wanted!));
    expect(await authority.dueAtMs({ ...wanted!, addresses: ['198.18.0.2'] })).toBe(0);
  });

  it('keeps the key over a renewal', async () => {
    const { clock, authority, read, certificate } = await setUp();
    const [wanted] = wantedCertificates('198.18.0.1');
    await authority.issue(wanted!);
    const [key, serial] = [await read('certs/registry/key.pem'), (await certificate('registry')).serialNumber];
    await clock.advance(50 * day);
    await authority.issue(wanted!);
    expect(await read('certs/registry/key.pem')).toBe(key);
    expect((await certificate('registry')).serialNumber).not.toBe(serial);
  });

  it('signs for the identity asked for, whatever the CSR says, and only with a true signature', async () => {
    const { authority } = await setUp();
    const csr = await createCsr(await createKey(), 'service:scheduler');
    const identity = { role: 'node', id: 'n1' } as const;
    const certificate = new X509Certificate(await authority.sign({ csr, identity, addresses: [] }));
    expect(certificate.subject).toBe('CN=node:n1');
    expect(certificate.checkHost('scheduler.service.berth')).toBeUndefined();
    const forged = csr.slice();
    forged[forged.length - 3]! ^= 1;
    await expect(authority.sign({ csr: forged, identity, addresses: [] })).rejects.toMatchObject({ reason: 'BAD_CSR' });
  });

  it('makes join tokens that pin its CA; on a host that is no manager there is none', async () => {
    const { authority } = await setUp();
    const { token } = await authority.newToken();
    expect(parseJoinToken(token).caDigest).toHaveLength(32);
    const other = new LocalAuthority({ disk: new MemoryDisk(), clock: new VirtualClock(), rng: new SeededRng(1) });
    await expect(other.caPem()).rejects.toMatchObject({ reason: 'NO_CA' });
  });

  it('signs certificates of the lifetime that was set', async () => {
    const { disk, clock } = await setUp();
    const authority = new LocalAuthority({ disk, clock, rng: new SeededRng(1), lifetimeMs: 60_000 });
    const [wanted] = wantedCertificates('198.18.0.1');
    await authority.issue(wanted!);
    const dueMs = (await authority.dueAtMs(wanted!)) - clock.wall();
    expect(dueMs).toBeGreaterThan(23_000);
    expect(dueMs).toBeLessThan(37_000);
  });
});

describe('a rotation of both CAs', () => {
  const rotation = async () => {
    const made = await setUp();
    const { authority, clock, read } = made;
    const trust: string[] = [];
    const certificates = new ControlPlaneCertificates({
      authority,
      address: '198.18.0.1',
      clock,
      log: new MemoryLogger(),
      onRenewed: (folder, renewed) => {
        if (renewed.trust) trust.push(folder);
      },
    });
    await certificates.ensure();
    const signerOf = async (folder: string): Promise<string> =>
      new X509Certificate(await read(`certs/${folder}/cert.pem`)).issuer;
    return { ...made, certificates, trust, signerOf };
  };
  const commonNames = (pem: string): string[] =>
    (pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/gu) ?? []).map((each) => new X509Certificate(each).subject);

  it('trusts the new before it signs, signs by it before the old one is dropped; keys stay', async () => {
    const { authority, certificates, read, signerOf, trust } = await rotation();
    const key = await read('certs/registry/key.pem');
    const token = parseJoinToken((await authority.newToken()).token);
    const seen = [];
    for (const from of [0, 1, 2]) {
      expect((await authority.advance(from)).step).toBe(from + 1);
      await certificates.ensure();
      seen.push([
        await signerOf('registry'),
        commonNames(await read('certs/registry/ca.pem')),
        commonNames(await read('certs/etcd/ca.pem')),
        trust.splice(0).includes('etcd'),
      ]);
    }
    expect(seen).toEqual([
      [
        'CN=Berth cluster c1',
        ['CN=Berth cluster c1', 'CN=Berth cluster c1 #2'],
        ['CN=Berth etcd c1', 'CN=Berth etcd c1 #2'],
        true,
      ],
      [
        'CN=Berth cluster c1 #2',
        ['CN=Berth cluster c1 #2', 'CN=Berth cluster c1'],
        ['CN=Berth etcd c1 #2', 'CN=Berth etcd c1'],
        false,
      ],
      ['CN=Berth cluster c1 #2', ['CN=Berth cluster c1 #2'], ['CN=Berth etcd c1 #2'], true],
    ]);
    expect(await read('certs/registry/key.pem')).toBe(key);
    expect(parseJoinToken((await authority.newToken()).token).caDigest).not.toEqual(token.caDigest);
  });

  it('does each step once, whoever asks how often, and keeps no key of a dropped CA', async () => {
    const { authority, disk, certificates } = await rotation();
    await Promise.all([authority.advance(0), authority.advance(0), authority.advance(0)]);
    expect((await authority.caStep()).step).toBe(1);
    expect((await authority.advance(7)).step).toBe(1);
    for (const from of [1, 2, 3, 4, 5]) await authority.advance(from);
    await certificates.ensure();
    expect([...(await disk.list('ca'))].sort()).toEqual([
      'cluster-3-key.pem',
      'cluster-3.pem',
      'etcd-3-key.pem',
      'etcd-3.pem',
      'step.json',
    ]);
  });

  it('goes on after a crash between the making of the new CAs and the step', async () => {
    const { authority, disk, clock, read } = await rotation();
    await authority.advance(0);
    const made = await read('ca/cluster-2.pem');
    await disk.remove('ca/step.json');
    const restarted = new LocalAuthority({ disk, clock, rng: new SeededRng(2) });
    expect((await restarted.caStep()).step).toBe(0);
    await restarted.advance(0);
    expect(await read('ca/cluster-2.pem')).toBe(made);
  });
});
