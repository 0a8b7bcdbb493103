import type { webcrypto } from 'node:crypto';
import { BerthError } from '@berth/kernel';
import { publicKeySha256 } from './certificate.ts';
import { keyAlgorithm, keyFromPem, keyToPem, publicKeyOf } from './pem.ts';
import { x509 } from './x509.ts';

/** Largest certificate signing request that is looked at. */
const csrBytesMax = 8_192;

/** A new ECDSA P-256 key, PKCS #8 PEM. */
export async function createKey(): Promise<string> {
  const { privateKey } = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  return keyToPem(privateKey);
}

/**
 * A certificate signing request for a key, DER. The name in it is for the log only: signers give the names of the identity
 * that was asked for. A renewal uses the same key, so that the certificate on disk is replaced in one rename.
 */
export async function createCsr(keyPem: string, commonName = 'berth'): Promise<Buffer> {
  const privateKey = await keyFromPem(keyPem);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys: { privateKey, publicKey: await publicKeyOf(privateKey) },
    signingAlgorithm: keyAlgorithm,
  });
  return Buffer.from(request.rawData);
}

/** The public key in a CSR whose signature proves that the caller holds it. InvalidArgument, reason BAD_CSR. */
export async function verifiedKeyOf(csr: Uint8Array): Promise<x509.PublicKey> {
  if (csr.length > csrBytesMax) throw bad(`it is larger than ${csrBytesMax} bytes`);
  let request: x509.Pkcs10CertificateRequest;
  let verified: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(new Uint8Array(csr));
    verified = await request.verify();
  } catch (cause) {
    throw bad('it cannot be read', cause);
  }
  if (!verified) throw bad('its signature does not fit its key');
  const algorithm = request.publicKey.algorithm as Partial<webcrypto.EcKeyAlgorithm>;
  if (algorithm.name !== keyAlgorithm.name || algorithm.namedCurve !== keyAlgorithm.namedCurve) {
    throw bad('its key is not ECDSA P-256');
  }
  return request.publicKey;
}

/** SHA-256 of the key in a CSR, hex, after its proof was checked: the same key joining again is the same node. */
export async function csrKeySha256(csr: Uint8Array): Promise<string> {
  return publicKeySha256(await verifiedKeyOf(csr));
}

function bad(why: string, cause?: unknown): BerthError {
  return new BerthError('InvalidArgument', `no usable certificate signing request: ${why}`, {
    reason: 'BAD_CSR',
    cause,
  });
}
