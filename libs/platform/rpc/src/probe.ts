import { connect } from 'node:tls';

/**
 * Asks whether a server of ours is there: `open` if it shakes hands, whoever it is; `refused` if its host takes or refuses
 * the connection and nothing is said; `none` if nothing came back within `timeoutMs`. Never rejects.
 */
export function probeServer(
  address: { readonly host: string; readonly port: number },
  timeoutMs: number,
): Promise<'open' | 'refused' | 'none'> {
  return new Promise((resolve) => {
    let reached = false;
    // Whose certificate it is does not matter: it is asked for a sign of life, and told nothing.
    const socket = connect({ ...address, servername: '', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    const timer = setTimeout(() => done(reached ? 'refused' : 'none'), timeoutMs);
    const done = (answer: 'open' | 'refused' | 'none'): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => {
      reached = true;
    });
    socket.once('secureConnect', () => done('open'));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // What goes wrong in TLS itself was said by somebody.
      if (error.code?.startsWith('ERR_SSL_')) done('open');
      else done(reached || error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' ? 'refused' : 'none');
    });
  });
}
