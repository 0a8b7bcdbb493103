import type { Node } from '@berth/contracts/registry';
import type { ProbeAnswer } from '../domain/presence-detector.ts';

/** Asks a node's agent directly whether it is there. */
export interface Prober {
  /** From here, or from `helper`'s host. `none`: no answer within `timeoutMs`, or the helper can't be asked. Never rejects. */
  probe(target: Node, timeoutMs: number, helper: Node | undefined): Promise<ProbeAnswer | 'none'>;
}

/** What the registry needs to know of keys and certificates; `platform/identity` knows it. */
export interface CertificateTools {
  /** SHA-256 of the public key of a CSR, hex, after the CSR's proof was checked. InvalidArgument: BAD_CSR. */
  csrKeySha256(csr: Uint8Array): Promise<string>;
  readCertificate(pem: string): {
    readonly serial: string;
    readonly publicKeySha256: string;
    readonly notBeforeMs: number;
    readonly notAfterMs: number;
  };
  /** What is stored of a join token's secret: SHA-256, hex. */
  hashTokenSecret(secret: string): string;
  /** Is this the secret of a stored hash? In constant time. */
  tokenSecretMatches(secret: string, storedHash: string): boolean;
  /** Digest of the CAs of a PEM text, in their order, hex. */
  trustDigest(caPem: string): string;
  /** A new join token for this cluster's CA, and its secret. */
  newJoinToken(): { readonly token: string; readonly secret: string };
}
