import type { NetConnectOpts } from 'node:net';
import { connect } from 'node:net';

/** True when somebody takes connections there. */
export function listens(to: NetConnectOpts): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(to);
    connection.on('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.on('error', () => resolve(false));
  });
}
