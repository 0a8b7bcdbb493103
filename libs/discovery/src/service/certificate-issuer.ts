import { WriteSet } from '@berth/changes';
import type { SigningServiceClient } from '@berth/contracts/agent';
import type { IssuedCertificate } from '@berth/contracts/registry';
import type { CallExtra, Clock, Identity, Store } from '@berth/kernel';
import { BerthError, formatIdentity } from '@berth/kernel';
import { certificates, registryOwner } from '../domain/records.ts';
import type { RegistryView } from '../domain/registry-view.ts';
import type { CertificateTools } from './ports.ts';

/** Longest wait for the manager's agent to sign. */
const signTimeoutMs = 5_000;
/** Expired records removed with each new one. */
const expiredPerIssueMax = 20;

export interface SignedCertificate {
  readonly certificatePem: string;
  readonly caPem: string;
}

/** Checks what is asked, lets the manager's agent sign it, and keeps the record. */
export class CertificateIssuer {
  readonly #signer: SigningServiceClient<CallExtra>;
  readonly #tools: CertificateTools;
  readonly #clock: Clock;
  readonly #store: Store;
  readonly #view: RegistryView;

  constructor(options: {
    readonly signer: SigningServiceClient<CallExtra>;
    readonly tools: CertificateTools;
    readonly clock: Clock;
    readonly store: Store;
    readonly view: RegistryView;
  }) {
    this.#signer = options.signer;
    this.#tools = options.tools;
    this.#clock = options.clock;
    this.#store = options.store;
    this.#view = options.view;
  }

  /** A certificate for an identity, whatever names the CSR carries. `also` is written in the txn that records it; with a
   *  compare of it that does not hold, the certificate is not given out: Conflict. */
  async issue(
    csr: Uint8Array,
    identity: Identity,
    addresses: readonly string[],
    also: WriteSet = new WriteSet(registryOwner),
  ): Promise<SignedCertificate> {
    const name = formatIdentity(identity);
    const signed = await this.#signer.sign(
      { csr: Buffer.from(csr), identity: name, addresses: [...addresses] },
      { timeoutMs: signTimeoutMs },
    );
    const facts = this.#tools.readCertificate(signed.certificatePem);
    also.put(certificates, {
      serial: facts.serial,
      identity: name,
      publicKeySha256: facts.publicKeySha256,
      notBeforeMs: facts.notBeforeMs,
      notAfterMs: facts.notAfterMs,
      revoked: false,
      caSha256: this.#tools.trustDigest(signed.caPem),
    });
    for (const expired of this.#expired()) also.delete(certificates, expired);
    const { committed } = await this.#store.txn(also.group());
    if (!committed) throw new BerthError('Conflict', 'something changed meanwhile: try again', { reason: 'RACE' });
    return { certificatePem: signed.certificatePem, caPem: signed.caPem };
  }

  #expired(): IssuedCertificate[] {
    const nowMs = this.#clock.wall();
    const expired = [...this.#view.certificates.values()].filter(({ value }) => value.notAfterMs < nowMs);
    return expired.slice(0, expiredPerIssueMax).map(({ value }) => value);
  }
}
