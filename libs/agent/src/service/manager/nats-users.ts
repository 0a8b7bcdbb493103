import type { Member } from '@berth/contracts/registry';
import type { Clock, Disk, Identity, Logger } from '@berth/kernel';
import { BerthError, formatIdentity, isBerthError, parseIdentity } from '@berth/kernel';
import { natsConf, natsUsersConf } from '@berth/workload';
import { Wake } from '../wake.ts';

/** Where the manifest mounts what: the configuration below the state folder, and folders as the container sees them. */
export const natsFolders = { config: 'nats/config', certs: '/certs', data: '/data' } as const;
const issuedFile = 'nats/issued.json';
const revokedFile = 'nats/revoked.json';
/** Several changes at once cost one reload. */
const coalesceMs = 100;
/** A disk that refuses is tried again after this time. */
const retryMs = 5_000;

/** Services that speak to NATS. */
const services: readonly Identity[] = ['registry', 'scheduler', 'network-manager', 'nats'].map((name) => ({
  role: 'service',
  name,
}));

export interface NatsUsersOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where NATS listens. */
  readonly address: string;
  readonly port: number;
  /** Port of its liveness probe, on 127.0.0.1. */
  readonly httpPort: number;
  /** Makes a running NATS read its users again; nothing happens while none runs. */
  readonly reload: () => Promise<void>;
}

/** How an identity came to be a user: issued by this agent, and, for a node, whether the member list has ever held it. */
interface Issued {
  readonly identity: string;
  readonly listed: boolean;
}

/**
 * NATS's configuration, beside its container: its users are the control plane, the identities this manager has signed, and
 * the nodes of the member list. A node that leaves the list, and who was revoked, is cut off by the reload.
 */
export class NatsUsers {
  readonly #o: NatsUsersOptions;
  readonly #wake: Wake;
  #issued = new Map<string, Issued>();
  #nodes: readonly string[] = [];
  #revoked: ReadonlySet<string> = new Set();
  #written = '';
  #certificateIsNew = false;

  constructor(options: NatsUsersOptions) {
    this.#o = options;
    this.#wake = new Wake(options.clock);
  }

  /** Writes both files; NATS can be started after it. */
  async prepare(members: readonly Member[]): Promise<void> {
    const { disk, address, port, httpPort } = this.#o;
    const kept = await disk.read(issuedFile);
    const list = kept === undefined ? [] : (JSON.parse(new TextDecoder().decode(kept)) as Issued[]);
    this.#issued = new Map(list.map((entry) => [entry.identity, entry]));
    const revoked = await disk.read(revokedFile);
    if (revoked) this.#revoked = new Set(JSON.parse(new TextDecoder().decode(revoked)) as string[]);
    this.#setMembers(members);
    const text = natsConf({
      host: address,
      port,
      httpPort,
      serverName: address,
      certs: natsFolders.certs,
      storeDir: natsFolders.data,
    });
    await disk.write(`${natsFolders.config}/nats.conf`, bytes(text));
    await this.#write();
  }

  /** A certificate was signed for an identity, and is about to go out. FailedPrecondition, reason NAME_REVOKED. */
  async issued(identity: Identity): Promise<void> {
    const text = formatIdentity(identity);
    if (this.#revoked.has(text)) {
      throw new BerthError(
        'FailedPrecondition',
        `${text} was revoked, and its name does not come back: choose another`,
        { reason: 'NAME_REVOKED' },
      );
    }
    if (this.#issued.has(text)) return;
    this.#issued.set(text, { identity: text, listed: false });
    await this.#keep();
    this.#wake.notify();
  }

  /** The member list is new. */
  members(members: readonly Member[]): void {
    this.#setMembers(members);
    this.#wake.notify();
  }

  /** All identities that were revoked, as the registry knows them; kept, so that a restart lets none of them in again. */
  revoked(identities: readonly string[]): void {
    this.#revoked = new Set(identities);
    this.#wake.notify();
  }

  /** NATS's own certificate was renewed: it reads it at a reload only. */
  certificateRenewed(): void {
    this.#certificateIsNew = true;
    this.#wake.notify();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, reload } = this.#o;
    while (!signal.aborted) {
      await this.#wake.wait(Number.POSITIVE_INFINITY, signal);
      await clock.sleep(coalesceMs, signal);
      if (signal.aborted) return;
      try {
        await this.#keep();
        const changed = await this.#write();
        if (!changed && !this.#certificateIsNew) continue;
        this.#certificateIsNew = false;
      } catch (error) {
        if (!isBerthError(error)) throw error;
        log.error({ error: error.message }, 'users of NATS could not be written; trying again');
        await clock.sleep(retryMs, signal);
        this.#wake.notify();
        continue;
      }
      try {
        await reload();
        log.info({ nodes: this.#nodes.length }, 'NATS was told of new users or its new certificate');
      } catch (error) {
        if (!isBerthError(error)) throw error;
        // One that starts later reads the file by itself.
        log.warn({ error: error.message }, 'NATS could not be told of what is new');
      }
    }
  }

  #setMembers(members: readonly Member[]): void {
    this.#nodes = members.map((m) => m.identity).filter((identity) => identity.startsWith('node:'));
    const listed = new Set(this.#nodes);
    for (const entry of [...this.#issued.values()]) {
      if (listed.has(entry.identity)) this.#issued.set(entry.identity, { ...entry, listed: true });
      else if (entry.listed) this.#issued.delete(entry.identity);
    }
  }

  /** True if the users changed. */
  async #write(): Promise<boolean> {
    const names = new Set([...this.#nodes, ...this.#issued.keys()].filter((name) => !this.#revoked.has(name)));
    const text = natsUsersConf([...services, ...[...names].map(parseIdentity)]);
    if (text === this.#written) return false;
    await this.#o.disk.write(`${natsFolders.config}/users.conf`, bytes(text));
    this.#written = text;
    return true;
  }

  async #keep(): Promise<void> {
    const { disk } = this.#o;
    await disk.write(revokedFile, bytes(JSON.stringify([...this.#revoked])));
    await disk.write(issuedFile, bytes(JSON.stringify([...this.#issued.values()])));
  }
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
