import { createHash } from 'node:crypto';
import type { Authority, CaStep, WantedCertificate } from '@berth/agent';
import type { AuthorityMaterial } from '@berth/identity';
import {
  CertStore,
  caDigest,
  createAuthority,
  createCsr,
  formatJoinToken,
  hashTokenSecret,
  lifetimes,
  newTokenSecret,
  readCertificate,
  renewalAtMs,
  signIdentity,
  signSubject,
} from '@berth/identity';
import type { Clock, Disk, Identity, Rng } from '@berth/kernel';
import { BerthError, dnsNameOf, formatIdentity } from '@berth/kernel';

type CaName = 'cluster' | 'etcd';
const cas: readonly CaName[] = ['etcd', 'cluster'];

const stepFile = 'ca/step.json';

/** Which generations of the CAs there are at a step, the one that signs first. */
export function generationsAt(step: number): readonly [number, ...number[]] {
  const settled = 1 + Math.floor(step / 3);
  if (step % 3 === 0) return [settled];
  return step % 3 === 1 ? [settled, settled + 1] : [settled + 1, settled];
}

/** The two CAs of a manager, in `ca/` of the state folder (0600); their keys are read for each signature, never kept. */
export class LocalAuthority implements Authority {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #rng: Rng;
  readonly #lifetimeMs: number;
  /** One step at a time. */
  #advancing: Promise<unknown> = Promise.resolve();

  /** `lifetimeMs`: of the certificates that are signed; default 90 days. */
  constructor(options: {
    readonly disk: Disk;
    readonly clock: Clock;
    readonly rng: Rng;
    readonly lifetimeMs?: number;
  }) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#rng = options.rng;
    this.#lifetimeMs = options.lifetimeMs ?? lifetimes.certificateMs;
  }

  async create(clusterId: string): Promise<void> {
    const names = { cluster: `Berth cluster ${clusterId}`, etcd: `Berth etcd ${clusterId}` };
    for (const ca of ['etcd', 'cluster'] as const) await this.#make(ca, 1, names[ca]);
  }

  caPem(): Promise<string> {
    return this.#trust('cluster');
  }

  async caStep(): Promise<CaStep> {
    const kept = await this.#read(stepFile);
    return kept === undefined ? { step: 0, atMs: 0 } : (JSON.parse(kept) as CaStep);
  }

  advance(from: number): Promise<CaStep> {
    const done = this.#advancing.then(() => this.#advance(from));
    this.#advancing = done.catch(() => undefined);
    return done;
  }

  async #advance(from: number): Promise<CaStep> {
    const before = await this.caStep();
    if (before.step !== from) return before;
    const after = { step: from + 1, atMs: this.#clock.wall() };
    const wanted = generationsAt(after.step);
    for (const ca of cas) {
      for (const generation of wanted) {
        // One that was made just before a crash is used: nothing has been signed by it.
        if ((await this.#read(fileOf(ca, generation))) !== undefined) continue;
        const { commonName } = readCertificate((await this.#material(ca)).certPem);
        await this.#make(ca, generation, `${commonName.replace(/ #\d+$/u, '')} #${generation}`);
      }
    }
    // This write is the step: all else follows from it.
    await this.#write(stepFile, JSON.stringify(after));
    for (const generation of generationsAt(before.step)) {
      if (wanted.includes(generation)) continue;
      for (const ca of cas) {
        await this.#disk.remove(keyFileOf(ca, generation));
        await this.#disk.remove(fileOf(ca, generation));
      }
    }
    return after;
  }

  async sign(request: {
    readonly csr: Uint8Array;
    readonly identity: Identity;
    readonly addresses: readonly string[];
  }): Promise<string> {
    return signIdentity(await this.#material('cluster'), { ...request, ...this.#now() });
  }

  async issue(wanted: WantedCertificate): Promise<boolean> {
    const store = this.#store(wanted);
    const csr = await createCsr(await store.key());
    const authority = await this.#material(wanted.subject.ca);
    const common = { csr, addresses: wanted.addresses, ...this.#now() };
    const cert =
      wanted.subject.ca === 'cluster'
        ? await signIdentity(authority, { ...common, identity: wanted.subject.identity })
        : await signSubject(authority, { ...common, ...wanted.subject });
    const before = await store.load();
    const ca = await this.#trust(wanted.subject.ca);
    await store.save({ cert, ca });
    return before !== undefined && !sameSet(certificatesIn(before.ca), certificatesIn(ca));
  }

  async dueAtMs(wanted: WantedCertificate): Promise<number> {
    const kept = await this.#store(wanted).load();
    if (kept === undefined || kept.ca !== (await this.#trust(wanted.subject.ca))) return 0;
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

  #now(): { readonly nowMs: number; readonly lifetimeMs: number } {
    return { nowMs: this.#clock.wall(), lifetimeMs: this.#lifetimeMs };
  }

  async #make(ca: CaName, generation: number, commonName: string): Promise<void> {
    const { certPem, keyPem } = await createAuthority({ commonName, nowMs: this.#clock.wall() });
    await this.#write(keyFileOf(ca, generation), keyPem);
    await this.#write(fileOf(ca, generation), certPem);
  }

  /** The CA that signs now. */
  async #material(ca: CaName): Promise<AuthorityMaterial> {
    const [generation] = generationsAt((await this.caStep()).step);
    const [certPem, keyPem] = await Promise.all([
      this.#read(fileOf(ca, generation)),
      this.#read(keyFileOf(ca, generation)),
    ]);
    if (certPem === undefined || keyPem === undefined) throw noCa();
    return { certPem, keyPem };
  }

  /** The CAs to trust now, the one that signs first, PEM. */
  async #trust(ca: CaName): Promise<string> {
    const generations = generationsAt((await this.caStep()).step);
    const texts = await Promise.all(generations.map((generation) => this.#read(fileOf(ca, generation))));
    if (texts.includes(undefined)) throw noCa();
    return texts.join('');
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

/** The first generation has the plain name. */
function fileOf(ca: CaName, generation: number): string {
  return generation === 1 ? `ca/${ca}.pem` : `ca/${ca}-${generation}.pem`;
}

function keyFileOf(ca: CaName, generation: number): string {
  return fileOf(ca, generation).replace(/\.pem$/u, '-key.pem');
}

function certificatesIn(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/gu) ?? [];
}

function noCa(): BerthError {
  return new BerthError('FailedPrecondition', 'this host holds no CA: it is no manager', { reason: 'NO_CA' });
}
