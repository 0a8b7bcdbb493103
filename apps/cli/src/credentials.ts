import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate with its key and the cluster's CA; all PEM. */
export interface Credentials {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Writes `cert.pem`, `key.pem` and `ca.pem`. The key is its owner's alone from the first moment, whatever stood there. */
export function writeCredentials(folder: string, { cert, key, ca }: Credentials): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'cert.pem'), cert);
  writeFileSync(join(folder, 'ca.pem'), ca);
  const fresh = join(folder, 'key.pem.new');
  rmSync(fresh, { force: true });
  writeFileSync(fresh, key, { mode: 0o600, flag: 'wx' });
  renameSync(fresh, join(folder, 'key.pem'));
}
