import { createHash, X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import type { Identity } from '@berth/kernel';
import { formatIdentity, isBerthError, parseIdentity } from '@berth/kernel';
import type { ServerInterceptor } from '@grpc/grpc-js';
import { ServerInterceptingCall } from '@grpc/grpc-js';
import type { Metadata } from 'nice-grpc-common';
import { rpcLimits } from './limits.ts';

/** Carries the verified identity from the transport to the handlers. What a client sends under it is thrown away. */
const callerKey = 'x-berth-caller';
/** Likewise the digest of its public key. */
const digestKey = 'x-berth-caller-key';

/** Who calls: by the port's kind, or, without `fixed`, by the common name of the verified client certificate. */
export function callerInterceptor(fixed: Identity | undefined): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, forward) => {
            const shown = fixed ? undefined : call.getAuthContext().sslPeerCertificate;
            const caller = fixed ?? identityOf(shown?.subject?.CN);
            for (const key of [callerKey, digestKey]) metadata.remove(key);
            if (caller !== undefined) metadata.set(callerKey, formatIdentity(caller));
            if (shown?.raw !== undefined) metadata.set(digestKey, keySha256Of(shown));
            forward(metadata);
          },
        });
      },
    });
}

/** The identity that the interceptor found, or undefined: no certificate, or one that names no identity of Berth's. */
export function callerOf(metadata: Metadata): Identity | undefined {
  const text = metadata.get(callerKey);
  return text === 'local-root' || text === 'anyone' ? { role: text } : identityOf(text);
}

/** SHA-256 of the public key that the caller's certificate is for, hex; empty where there is no certificate. */
export function callerKeyOf(metadata: Metadata): string {
  return metadata.get(digestKey) ?? '';
}

const digests = new Map<string, string>();

/** Reading a certificate costs more than many a call: the digest is remembered for each. */
function keySha256Of(certificate: PeerCertificate): string {
  const known = digests.get(certificate.fingerprint256);
  if (known !== undefined) return known;
  const der = new X509Certificate(certificate.raw).publicKey.export({ type: 'spki', format: 'der' });
  const digest = createHash('sha256').update(der).digest('hex');
  if (digests.size >= rpcLimits.callerKeysMax) digests.clear();
  digests.set(certificate.fingerprint256, digest);
  return digest;
}

/** A certificate never speaks for `local-root` or `anyone`: those are no names that parse. */
function identityOf(commonName: unknown): Identity | undefined {
  if (typeof commonName !== 'string') return undefined;
  try {
    return parseIdentity(commonName);
  } catch (error) {
    if (isBerthError(error, 'InvalidArgument')) return undefined;
    throw error;
  }
}
