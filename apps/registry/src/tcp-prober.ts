import { connect } from 'node:net';
import type { Prober } from '@berth/discovery';

/** Probes by a TCP connection: refused means that the host is up and nothing listens. */
export const tcpProber: Prober = {
  probe: (address, timeoutMs) =>
    new Promise((resolve) => {
      const at = address.lastIndexOf(':');
      const socket = connect({ host: address.slice(0, at), port: Number(address.slice(at + 1)), timeout: timeoutMs });
      const done = (answer: 'open' | 'refused' | 'none') => (): void => {
        socket.destroy();
        resolve(answer);
      };
      socket.once('connect', done('open'));
      socket.once('timeout', done('none'));
      socket.once('error', (error: NodeJS.ErrnoException) =>
        done(error.code === 'ECONNREFUSED' ? 'refused' : 'none')(),
      );
    }),
};
