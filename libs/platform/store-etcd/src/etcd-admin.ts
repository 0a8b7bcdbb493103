import type { Etcd3, IResponseHeader } from 'etcd3';
import { EtcdRoleExistsError, EtcdUserExistsError } from 'etcd3';
import { translated } from './errors.ts';
import { rangeOf } from './range.ts';

/** An owner of a prefix: the CN of its etcd certificate, and the prefix's name. */
export interface EtcdOwner {
  readonly user: string;
  /** First token of its keys, without the slash. */
  readonly prefix: string;
}

/** The owners of the control plane. Bootstrap itself is the user `root`. */
export const controlPlaneOwners: readonly EtcdOwner[] = [
  { user: 'scheduler', prefix: 'scheduler' },
  { user: 'registry', prefix: 'registry' },
  { user: 'network-manager', prefix: 'network' },
];

export interface EtcdStatus {
  readonly version: string;
  readonly dbBytes: number;
  readonly revision: number;
  /** Names of raised alarms, e.g. "Nospace". */
  readonly alarms: readonly string[];
}

/** What etcd's administrator does. */
export class EtcdAdmin {
  readonly #client: () => Etcd3;

  constructor(client: () => Etcd3) {
    this.#client = client;
  }

  /**
   * Makes etcd let in the owners, each to its own prefix (and to read `meta/`), and `root` to everything; all others to
   * nothing. Users have no password: the CN of a certificate names them. Idempotent; needs the certificate of `root`.
   */
  async bootstrapAuth(owners: readonly EtcdOwner[] = controlPlaneOwners): Promise<void> {
    const { auth } = this.#client();
    for (const { user, prefix } of owners) {
      await unlessExists(auth.roleAdd({ name: user }));
      const grants = [
        { permType: 'Readwrite', ...rangeOf(`${prefix}/`) },
        { permType: 'Read', ...rangeOf('meta/') },
      ] as const;
      for (const perm of grants) await translated(auth.roleGrantPermission({ name: user, perm }));
      await this.#addUser(user, user);
    }
    await unlessExists(auth.roleAdd({ name: 'root' }));
    await this.#addUser('root', 'root');
    await translated(auth.authEnable());
  }

  /** Forgets the history before a revision. */
  async compact(revision: number): Promise<void> {
    await translated(this.#client().kv.compact({ revision, physical: true }));
  }

  async status(): Promise<EtcdStatus> {
    const status = await translated(this.#client().maintenance.status());
    const { alarms } = await translated(this.#client().maintenance.alarm({ action: 'Get' }));
    const header: IResponseHeader = status.header;
    return {
      version: status.version,
      dbBytes: Number(status.dbSize),
      revision: Number(header.revision),
      alarms: (alarms ?? []).map((alarm) => String(alarm.alarm)),
    };
  }

  /** Ends the lease under which a key was written; the key vanishes with all others of the lease. */
  async endLeaseOf(key: string): Promise<void> {
    const { kvs } = await translated(this.#client().kv.range({ key: Buffer.from(key) }));
    for (const { lease } of kvs) {
      if (lease !== '0') await translated(this.#client().leaseClient.leaseRevoke({ ID: lease }));
    }
  }

  async #addUser(user: string, role: string): Promise<void> {
    const { auth } = this.#client();
    await unlessExists(auth.userAdd({ name: user, options: { no_password: true } }));
    await translated(auth.userGrantRole({ user, role }));
  }
}

async function unlessExists(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof EtcdRoleExistsError || error instanceof EtcdUserExistsError)) {
      await translated(Promise.reject(error));
    }
  }
}
