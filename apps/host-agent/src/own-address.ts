import { createSocket } from 'node:dgram';
import { BerthError } from '@berth/kernel';

/**
 * This host's address on the way to a peer (`host:port`): what the kernel would send from. Nothing is sent. Unavailable
 * while there is no route to the peer, or while its name is not known.
 */
export function ownAddressTowards(peer: string): Promise<string> {
  const at = peer.lastIndexOf(':');
  const socket = createSocket('udp4');
  return new Promise<string>((resolve, reject) => {
    // Node's types leave out that the callback is told of a failure.
    const connected = (cause?: Error): void => {
      if (cause === undefined) resolve(socket.address().address);
      else
        reject(
          new BerthError('Unavailable', `there is no way to ${peer}: ${cause.message}`, { reason: 'NO_ROUTE', cause }),
        );
    };
    socket.on('error', connected);
    socket.connect(Number(peer.slice(at + 1)), peer.slice(0, at), connected);
  }).finally(() => socket.close());
}
