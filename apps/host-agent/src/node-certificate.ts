import type { JoinPort, NodeCertificate } from '@berth/agent';
import { rpc } from '@berth/contracts';
import type { JoinRequest, JoinResponse, RejoinRequest, RejoinResponse } from '@berth/contracts/registry';
import type { CertStore } from '@berth/identity';
import { createCsr, parseJoinToken, readCertificate, renewalAtMs, trustDigest, trusts } from '@berth/identity';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
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

/** The node's own key and certificate: how it joins, renews and rejoins. */
export class NodeCertificates implements JoinPort, NodeCertificate {
  readonly #o: NodeCertificatesOptions;

  constructor(options: NodeCertificatesOptions) {
    this.#o = options;
  }

  async csr(): Promise<Uint8Array> {
    return createCsr(await this.#o.store.key());
  }

  join(token: string, request: Omit<JoinRequest, 'tokenSecret'>): Promise<JoinResponse> {
    return this.#atJoinPort(token, (client, tokenSecret) => client.join({ ...request, tokenSecret }));
  }

  rejoin(token: string, request: Omit<RejoinRequest, 'tokenSecret'>): Promise<RejoinResponse> {
    return this.#atJoinPort(token, (client, tokenSecret) => client.rejoin({ ...request, tokenSecret }));
  }

  save(certificate: { readonly cert: string; readonly ca: string }): Promise<void> {
    return this.#o.store.save(certificate);
  }

  async ended(token: string | undefined): Promise<string | undefined> {
    const kept = await this.#o.store.load();
    if (kept === undefined) return "this node's certificate is gone";
    const { notAfterMs } = readCertificate(kept.cert);
    if (notAfterMs <= this.#o.clock.wall()) {
      return `this node's certificate ended at ${new Date(notAfterMs).toISOString()}`;
    }
    return token !== undefined && namesAnotherCa(token, kept.ca)
      ? 'the CA of the cluster is another one now'
      : undefined;
  }

  async trustSha256(): Promise<string> {
    const kept = await this.#o.store.load();
    return kept === undefined ? '' : trustDigest(kept.ca);
  }

  async renewalAtMs(random: number): Promise<number> {
    const kept = await this.#o.store.load();
    return kept === undefined ? 0 : renewalAtMs(readCertificate(kept.cert), random);
  }

  async #atJoinPort<T>(token: string, call: (client: JoinClient, secret: string) => Promise<T>): Promise<T> {
    const { clock, rng, logger, joinAddresses: addresses } = this.#o;
    const { caDigest, secret } = parseJoinToken(token);
    const { dialer } = await dialPinned({ addresses, identity: registry, caDigest, clock, rng, logger });
    try {
      return await call(dialer.client(rpc.join, { identity: registry, addresses: () => addresses }), secret);
    } finally {
      dialer.close();
    }
  }
}

/** A damaged token says nothing: a certificate that is good must not be lost over it. */
function namesAnotherCa(token: string, ca: string): boolean {
  try {
    return !trusts(ca, parseJoinToken(token).caDigest);
  } catch (error) {
    if (isBerthError(error, 'InvalidArgument')) return false;
    throw error;
  }
}

type JoinClient = typeof rpc.join extends { readonly types?: { readonly client: infer Client } } ? Client : never;
