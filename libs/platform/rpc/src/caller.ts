import type { Identity } from '@berth/kernel';
import { formatIdentity, isBerthError, parseIdentity } from '@berth/kernel';
import type { ServerInterceptor } from '@grpc/grpc-js';
import { ServerInterceptingCall } from '@grpc/grpc-js';
import type { Metadata } from 'nice-grpc-common';

/** Carries the verified identity from the transport to the handlers. What a client sends under it is thrown away. */
const callerKey = 'x-berth-caller';

/** Who calls: by the port's kind, or, without `fixed`, by the common name of the verified client certificate. */
export function callerInterceptor(fixed: Identity | undefined): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, forward) => {
            const caller = fixed ?? identityOf(call.getAuthContext().sslPeerCertificate?.subject?.CN);
            metadata.remove(callerKey);
            if (caller !== undefined) metadata.set(callerKey, formatIdentity(caller));
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
