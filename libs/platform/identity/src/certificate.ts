import { createHash } from 'node:crypto';
import type { Identity } from '@berth/kernel';
import { BerthError, isBerthError, parseIdentity } from '@berth/kernel';
import { lifetimes } from './lifetimes.ts';
import { x509 } from './x509.ts';

/** What is read of a certificate. */
export interface CertificateFacts {
  readonly commonName: string;
  /** Undefined for names that are no identity of Berth's: etcd users, CAs. */
  readonly identity: Identity | undefined;
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
  /** Hex. */
  readonly serial: string;
  /** SHA-256 of the public key (SubjectPublicKeyInfo, DER), hex: the same over renewals. */
  readonly publicKeySha256: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Reads the first certificate of a PEM text. InvalidArgument, reason BAD_CERTIFICATE. Verifies nothing. */
export function readCertificate(pem: string): CertificateFacts {
  let certificate: x509.X509Certificate;
  try {
    certificate = new x509.X509Certificate(x509.PemConverter.decodeFirst(pem));
  } catch (cause) {
    throw unreadable(cause);
  }
  const commonName = certificate.subjectName.getField('CN')[0] ?? '';
  const names = certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  return {
    commonName,
    identity: identityOf(commonName),
    dnsNames: names.filter((name) => name.type === 'dns').map((name) => name.value),
    addresses: names.filter((name) => name.type === 'ip').map((name) => name.value),
    serial: certificate.serialNumber,
    publicKeySha256: publicKeySha256(certificate.publicKey),
    notBeforeMs: certificate.notBefore.getTime(),
    notAfterMs: certificate.notAfter.getTime(),
  };
}

/** SHA-256 of a public key's DER, hex. */
export function publicKeySha256(key: x509.PublicKey): string {
  return createHash('sha256').update(new Uint8Array(key.rawData)).digest('hex');
}

/**
 * When to renew, milliseconds since 1970: half of the lifetime, give or take 10 % of it, so that certificates issued
 * together are not renewed together. `random` is uniform in [0, 1).
 */
export function renewalAtMs(certificate: Pick<CertificateFacts, 'notBeforeMs' | 'notAfterMs'>, random: number): number {
  const { notBeforeMs, notAfterMs } = certificate;
  // Its life began when it was issued, not when it is valid from.
  const issuedMs = Math.min(notBeforeMs + lifetimes.backdatingMs, notAfterMs);
  return Math.round(issuedMs + (notAfterMs - issuedMs) * (0.4 + 0.2 * random));
}

function identityOf(commonName: string): Identity | undefined {
  try {
    return parseIdentity(commonName);
  } catch (error) {
    if (isBerthError(error, 'InvalidArgument')) return undefined;
    throw error;
  }
}

function unreadable(cause: unknown): BerthError {
  return new BerthError('InvalidArgument', 'no readable certificate', { reason: 'BAD_CERTIFICATE', cause });
}
