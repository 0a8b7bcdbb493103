import type { Identity } from '@berth/kernel';

/** A certificate of this host's control plane: who it speaks for and where it is kept. */
export interface WantedCertificate {
  /** Folder below `certs/`. */
  readonly folder: string;
  readonly subject:
    | { readonly ca: 'cluster'; readonly identity: Identity }
    /** etcd trusts a CA of its own; the common name is the etcd user. */
    | { readonly ca: 'etcd'; readonly commonName: string; readonly dnsNames: readonly string[] };
  /** Addresses at which it serves. */
  readonly addresses: readonly string[];
}

/**
 * Where a rotation of the CAs stands. Three steps make one: at 0 (steady) one generation signs and is trusted, at 1 the next
 * is trusted too, at 2 it signs, at 3 the old one is dropped, and so on.
 */
export interface CaStep {
  readonly step: number;
  /** When it was reached, milliseconds since 1970. */
  readonly atMs: number;
}

/** Who holds the keys of the two CAs. Implemented by the app with the identity lib; keys never leave it. */
export interface Authority {
  /** Makes both CAs, if there are none. */
  create(clusterId: string): Promise<void>;
  /** The cluster's CAs to trust, the one that signs first, PEM; FailedPrecondition, reason NO_CA, on a host that is no
   *  manager. */
  caPem(): Promise<string>;
  /** Signs for an identity of the cluster, with its names, whatever the CSR says. InvalidArgument: BAD_CSR. */
  sign(request: {
    readonly csr: Uint8Array;
    readonly identity: Identity;
    readonly addresses: readonly string[];
  }): Promise<string>;
  /** Issues (anew) a certificate of this host. True if it came with another set of CAs than the one before it. */
  issue(wanted: WantedCertificate): Promise<boolean>;
  /** When a certificate of this host is due, milliseconds since 1970: 0 if there is none or it does not fit what is
   *  wanted. The same answer until it is issued anew. */
  dueAtMs(wanted: WantedCertificate): Promise<number>;
  /** How often the CAs were moved on (see `caStep`), and since when. */
  caStep(): Promise<CaStep>;
  /** Moves both CAs one step on, if they stand at `from`; else changes nothing. */
  advance(from: number): Promise<CaStep>;
  /** A new join token: the secret and what of it is stored. */
  newToken(): Promise<{ readonly token: string; readonly secretHash: string }>;
}
