import { createHash } from 'node:crypto';
import type { Authority, WantedCertificate } from '@berth/agent';
import type { AuthorityMaterial } from '@berth/identity';
import {
  CertStore,
  caDigest,
  createAuthority,
  createCsr,
  formatJoinToken,
  hashTokenSecret,
  newTokenSecret,
  readCertificate,
  renewalAtMs,
  signIdentity,
  signSubject,
} from '@berth/identity';
import type { Clock, Disk, Identity, Rng } from '@berth/kernel';
import { BerthError, dnsNameOf, formatIdentity } from '@berth/kernel';

type CaName = 'cluster' | 'etcd';

/** The two CAs of a manager, in `ca/` of the state folder (0600); their keys are read for each signature, never kept. */
export class LocalAuthority implements Authority {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #rng: Rng;

  constructor(options: { readonly disk: Disk; readonly clock: Clock; readonly rng: Rng }) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#rng = options.rng;
  }

  async create(clusterId: string): Promise<void> {
    const names = { cluster: `Berth cluster ${clusterId}`, etcd: `Berth etcd ${clusterId}` };
    for (const ca of ['etcd', 'cluster'] as const) {
      const { certPem, keyPem } = await createAuthority({ commonName: names[ca], nowMs: this.#clock.wall() });
      await this.#write(`ca/${ca}-key.pem`, keyPem);
      await this.#write(`ca/${ca}.pem`, certPem);
    }
  }

  async caPem(): Promise<string> {
    return (await this.#material('cluster')).certPem;
  }

  async sign(request: {
    readonly csr: Uint8Array;
    readonly identity: Identity;
    readonly addresses: readonly string[];
  }): Promise<string> {
    return signIdentity(await this.#material('cluster'), { ...request, nowMs: this.#clock.wall() });
  }

  async issue(wanted: WantedCertificate): Promise<void> {
    const store = this.#store(wanted);
    const csr = await createCsr(await store.key());
    const authority = await this.#material(wanted.subject.ca);
    const common = { csr, addresses: wanted.addresses, nowMs: this.#clock.wall() };
    const cert =
      wanted.subject.ca === 'cluster'
        ? await signIdentity(authority, { ...common, identity: wanted.subject.identity })
        : await signSubject(authority, { ...common, ...wanted.subject });
    await store.save({ cert, ca: authority.certPem });
  }

  async dueAtMs(wanted: WantedCertificate): Promise<number> {
    const kept = await this.#store(wanted).load();
    if (kept === undefined || kept.ca !== (await this.#material(wanted.subject.ca)).certPem) return 0;
    const facts = readCertificate(kept.cert);
    const { commonName, dnsNames } = namesOf(wanted);
    const fits =
      facts.commonName === commonName &&
      sameSet(facts.dnsNames, dnsNames) &&
      sameSet(facts.addresses, wanted.addresses);
    // Spread by the serial number: the same answer at each look.
    return fits ? renewalAtMs(facts, fractionOf(facts.serial)) : 0;
  }

  async newToken(): Promise<{ readonly token: string; readonly secretHash: string }> {
    const secret = newTokenSecret(this.#rng);
    const token = formatJoinToken({ caDigest: caDigest(await this.caPem()), secret });
    return { token, secretHash: hashTokenSecret(secret) };
  }

  async #material(ca: CaName): Promise<AuthorityMaterial> {
    const [certPem, keyPem] = await Promise.all([this.#read(`ca/${ca}.pem`), this.#read(`ca/${ca}-key.pem`)]);
    if (certPem === undefined || keyPem === undefined) {
      throw new BerthError('FailedPrecondition', 'this host holds no CA: it is no manager', { reason: 'NO_CA' });
    }
    return { certPem, keyPem };
  }

  #store(wanted: WantedCertificate): CertStore {
    return new CertStore(this.#disk, `certs/${wanted.folder}`);
  }

  #write(name: string, text: string): Promise<void> {
    return this.#disk.write(name, new TextEncoder().encode(text), { mode: 0o600 });
  }

  async #read(name: string): Promise<string | undefined> {
    const bytes = await this.#disk.read(name);
    return bytes && new TextDecoder().decode(bytes);
  }
}

function namesOf({ subject }: WantedCertificate): {
  readonly commonName: string;
  readonly dnsNames: readonly string[];
} {
  if (subject.ca === 'etcd') return subject;
  return { commonName: formatIdentity(subject.identity), dnsNames: [dnsNameOf(subject.identity)] };
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value) => b.includes(value));
}

function fractionOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32;
}
