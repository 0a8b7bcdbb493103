import type { JoinPort, NodeCertificate } from '@berth/agent';
import { rpc } from '@berth/contracts';
import type { JoinRequest, JoinResponse } from '@berth/contracts/registry';
import type { CertStore } from '@berth/identity';
import { createCsr, parseJoinToken, readCertificate, renewalAtMs } from '@berth/identity';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { dialPinned } from '@berth/rpc';

const registry = { role: 'service', name: 'registry' } as const;

export interface NodeCertificatesOptions {
  readonly store: CertStore;
  /** Join ports, `host:port`. */
  readonly joinAddresses: readonly string[];
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
}

/** The node's own key and certificate: how it joins and how it renews. */
export class NodeCertificates implements JoinPort, NodeCertificate {
  readonly #o: NodeCertificatesOptions;

  constructor(options: NodeCertificatesOptions) {
    this.#o = options;
  }

  async csr(): Promise<Uint8Array> {
    return createCsr(await this.#o.store.key());
  }

  async join(token: string, request: Omit<JoinRequest, 'tokenSecret'>): Promise<JoinResponse> {
    const { clock, rng, logger, joinAddresses: addresses } = this.#o;
    const { caDigest, secret } = parseJoinToken(token);
    const { dialer } = await dialPinned({ addresses, identity: registry, caDigest, clock, rng, logger });
    try {
      const client = dialer.client(rpc.join, { identity: registry, addresses: () => addresses });
      return await client.join({ ...request, tokenSecret: secret });
    } finally {
      dialer.close();
    }
  }

  save(certificate: { readonly cert: string; readonly ca: string }): Promise<void> {
    return this.#o.store.save(certificate);
  }

  /** Is there a certificate that is no longer valid? */
  async expired(): Promise<boolean> {
    const kept = await this.#o.store.load();
    return kept !== undefined && readCertificate(kept.cert).notAfterMs <= this.#o.clock.wall();
  }

  async renewalAtMs(random: number): Promise<number> {
    const kept = await this.#o.store.load();
    return kept === undefined ? 0 : renewalAtMs(readCertificate(kept.cert), random);
  }
}
