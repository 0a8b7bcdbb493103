import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import type { Identity } from '@berth/kernel';
import { BerthError, dnsNameOf, formatIdentity } from '@berth/kernel';
import { lifetimes } from './lifetimes.ts';
import { keyAlgorithm, keyFromPem, keyToPem } from './pem.ts';
import { verifiedKeyOf } from './request.ts';
import { x509 } from './x509.ts';

/** A certificate authority: who holds `keyPem` can speak for anybody. */
export interface AuthorityMaterial {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface SubjectRequest {
  /** Proof that the caller holds the key; whatever names it carries are ignored. DER. */
  readonly csr: Uint8Array;
  readonly commonName: string;
  readonly dnsNames: readonly string[];
  /** IP addresses at which the holder serves. */
  readonly addresses?: readonly string[];
  /** Now, milliseconds since 1970. */
  readonly nowMs: number;
  /** Default 90 days; never longer than the CA's own. */
  readonly lifetimeMs?: number;
}

export type IdentityRequest = Omit<SubjectRequest, 'commonName' | 'dnsNames'> & { readonly identity: Identity };

/** Makes a new CA with a key of its own. */
export async function createAuthority(options: {
  /** Shown to people: `Berth cluster <id>`. */
  readonly commonName: string;
  readonly nowMs: number;
  /** Default 10 years. */
  readonly lifetimeMs?: number;
}): Promise<AuthorityMaterial> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [options.commonName] }],
    keys,
    signingAlgorithm: keyAlgorithm,
    serialNumber: newSerial(),
    notBefore: new Date(options.nowMs - lifetimes.backdatingMs),
    notAfter: new Date(options.nowMs + (options.lifetimeMs ?? lifetimes.caMs)),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certPem: `${certificate.toString('pem')}\n`, keyPem: await keyToPem(keys.privateKey) };
}

/** Signs a CSR for an identity, with that identity's names and no others. Returns the certificate, PEM. */
export function signIdentity(authority: AuthorityMaterial, request: IdentityRequest): Promise<string> {
  const { identity, ...rest } = request;
  return signSubject(authority, {
    ...rest,
    commonName: formatIdentity(identity),
    dnsNames: [dnsNameOf(identity)],
  });
}

/** Signs a CSR for given names: for etcd's own CA, whose common names are etcd users. InvalidArgument: BAD_CSR, BAD_ADDRESS. */
export async function signSubject(authority: AuthorityMaterial, request: SubjectRequest): Promise<string> {
  const publicKey = await verifiedKeyOf(request.csr);
  const issuer = new x509.X509Certificate(authority.certPem);
  const addresses = request.addresses ?? [];
  const wrong = addresses.find((address) => isIP(address) === 0);
  if (wrong !== undefined) {
    throw new BerthError('InvalidArgument', `no IP address: ${JSON.stringify(wrong)}`, { reason: 'BAD_ADDRESS' });
  }
  const end = request.nowMs + (request.lifetimeMs ?? lifetimes.certificateMs);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [request.commonName] }],
    issuer: issuer.subjectName,
    publicKey,
    signingKey: await keyFromPem(authority.keyPem),
    signingAlgorithm: keyAlgorithm,
    serialNumber: newSerial(),
    notBefore: new Date(request.nowMs - lifetimes.backdatingMs),
    notAfter: new Date(Math.min(end, issuer.notAfter.getTime())),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...request.dnsNames.map((value) => ({ type: 'dns' as const, value })),
        ...addresses.map((value) => ({ type: 'ip' as const, value })),
      ]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/** SHA-256 of a CA's DER, of several the first, which signs: what a join token carries and a joining host pins. */
export function caDigest(caPem: string): Uint8Array {
  return digestOf(x509.PemConverter.decodeFirst(caPem));
}

/** Digest of all CAs of a text, in their order, hex: the same trust, the same signer. */
export function trustDigest(caPem: string): string {
  const all = createHash('sha256');
  for (const der of x509.PemConverter.decode(caPem)) all.update(digestOf(der));
  return all.digest('hex');
}

/** Is the CA that a join token names one of these? */
export function trusts(caPem: string, digest: Uint8Array): boolean {
  return x509.PemConverter.decode(caPem).some((der) => Buffer.from(digest).equals(digestOf(der)));
}

function digestOf(der: ArrayBuffer): Buffer {
  return createHash('sha256').update(new Uint8Array(der)).digest();
}

/** 127 random bits: positive and of one length. */
function newSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}
