import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import type { TlsMaterial } from './tls.ts';

const probeTimeoutMs = 1_000;

/**
 * Why a server that can be reached does not serve: in TLS 1.3 it judges a client's certificate after the client's side of
 * the handshake is over, and then hangs up without a word. So: what happens right after the handshake? Returns what is
 * wrong, or undefined if it is not the certificate.
 */
export function probeRefusal(address: string, serverName: string, tls: TlsMaterial): Promise<string | undefined> {
  const at = address.lastIndexOf(':');
  return new Promise((resolve) => {
    let secure = false;
    const socket = connect({
      ...tls,
      host: address.slice(0, at).replace(/^\[|\]$/gu, ''),
      port: Number(address.slice(at + 1)),
      servername: serverName,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
      timeout: probeTimeoutMs,
    });
    const end = (refusal: string | undefined): void => {
      socket.destroy();
      resolve(refusal);
    };
    socket.once('secureConnect', () => {
      secure = true;
    });
    // An HTTP/2 server that accepts speaks first.
    socket.once('data', () => end(undefined));
    socket.once('timeout', () => end(undefined));
    socket.once('error', (error) => end(secure ? refusalOf(tls) : String(error)));
    socket.once('close', () => end(secure ? refusalOf(tls) : undefined));
  });
}

function refusalOf(tls: TlsMaterial): string {
  const { subject, validTo } = new X509Certificate(tls.cert);
  return `the server does not accept the certificate of ${subject} (valid until ${validTo})`;
}
