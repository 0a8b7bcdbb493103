import { createHash, timingSafeEqual } from 'node:crypto';
import type { DetailedPeerCertificate } from 'node:tls';
import { connect } from 'node:tls';
import type { Identity } from '@berth/kernel';
import { BerthError, dnsNameOf, isBerthError } from '@berth/kernel';
import type { ClosableDialer, DialerOptions } from './dialer.ts';
import { trustingDialer } from './dialer.ts';
import { rpcLimits } from './limits.ts';

export interface PinnedOptions extends Omit<DialerOptions, 'tls'> {
  /** Where the join port may be, `host:port`. */
  readonly addresses: readonly string[];
  /** Who serves there. */
  readonly identity: Identity;
  /** SHA-256 of the CA's DER: 32 bytes, from the join token. */
  readonly caDigest: Uint8Array;
}

/**
 * A dialer for a host that knows of the cluster only its CA's digest: asks the servers for their chain, takes from it the
 * CA that the digest names, and from then on trusts only that. Unauthenticated, reason CA_MISMATCH, if a server answers
 * with another CA; Unavailable if none answers.
 */
export async function dialPinned(
  options: PinnedOptions,
): Promise<{ readonly dialer: ClosableDialer; readonly ca: string }> {
  const errors: BerthError[] = [];
  for (const address of options.addresses) {
    try {
      const ca = await fetchCa(address, options);
      return { dialer: trustingDialer(options, ca), ca };
    } catch (error) {
      if (!isBerthError(error)) throw error;
      errors.push(error);
    }
  }
  throw (
    errors.find((error) => error.code === 'Unauthenticated') ??
    errors[0] ??
    new BerthError('Unavailable', 'no address to join at', { reason: 'NO_ADDRESS' })
  );
}

function fetchCa(address: string, options: PinnedOptions): Promise<string> {
  const at = address.lastIndexOf(':');
  const host = address.slice(0, at).replace(/^\[|\]$/gu, '');
  return new Promise((resolve, reject) => {
    // The chain is not trusted yet, only read: the digest decides, and the real connection verifies as ever.
    const socket = connect({
      host,
      port: Number(address.slice(at + 1)),
      servername: dnsNameOf(options.identity),
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
      timeout: rpcLimits.connectTimeoutMs,
    });
    const fail = (code: 'Unavailable' | 'Unauthenticated', reason: string, message: string): void => {
      socket.destroy();
      reject(new BerthError(code, `${address}: ${message}`, { reason, details: { address } }));
    };
    socket.once('secureConnect', () => {
      const chain = chainOf(socket.getPeerCertificate(true));
      const ca = chain.find((raw) => timingSafeEqual(createHash('sha256').update(raw).digest(), options.caDigest));
      if (ca === undefined) {
        fail('Unauthenticated', 'CA_MISMATCH', 'its CA is not the one that the join token names');
        return;
      }
      socket.destroy();
      resolve(pem(ca));
    });
    socket.once('timeout', () => fail('Unavailable', 'UNREACHABLE', 'no answer in time'));
    socket.once('error', (error) => fail('Unavailable', 'UNREACHABLE', String(error)));
  });
}

function chainOf(leaf: DetailedPeerCertificate): Buffer[] {
  const chain: Buffer[] = [];
  for (let next: DetailedPeerCertificate | undefined = leaf; next?.raw; next = next.issuerCertificate) {
    if (chain.some((raw) => raw.equals(next?.raw ?? raw))) break;
    chain.push(next.raw);
  }
  return chain;
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/gu) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
