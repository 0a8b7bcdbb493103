import type { webcrypto } from 'node:crypto';
import { x509 } from './x509.ts';

export const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A private key as PKCS #8 PEM. */
export async function keyToPem(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;
}

export async function keyFromPem(pem: string): Promise<webcrypto.CryptoKey> {
  return crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), keyAlgorithm, true, ['sign']);
}

/** The public half of a private key. */
export async function publicKeyOf(key: webcrypto.CryptoKey): Promise<webcrypto.CryptoKey> {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', key);
  return crypto.subtle.importKey('jwk', { kty, crv, x, y }, keyAlgorithm, true, ['verify']);
}
