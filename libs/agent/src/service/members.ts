import type { Member } from '@berth/contracts/registry';
import { Member as Members } from '@berth/contracts/registry';
import type { Disk, Identity, Logger, RpcTarget } from '@berth/kernel';
import { formatIdentity, isBerthError } from '@berth/kernel';
import { seal, unseal } from '../domain/sealed.ts';

const fileName = 'cache/members';

export interface MemberDirectoryOptions {
  readonly disk: Disk;
  readonly log: Logger;
}

/** Who is where: the registry's member list, kept on disk, so that an agent that starts finds its services again. */
export class MemberDirectory {
  readonly #disk: Disk;
  readonly #log: Logger;
  readonly #listeners = new Set<(members: readonly Member[]) => void>();
  #members: readonly Member[] = [];
  /** Is it on disk as it is here? */
  #kept = true;
  #seeds = new Map<string, readonly string[]>();

  constructor(options: MemberDirectoryOptions) {
    this.#disk = options.disk;
    this.#log = options.log;
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  async load(): Promise<void> {
    const file = await this.#disk.read(fileName);
    const payload = file && unseal(file);
    if (file !== undefined && payload === undefined) this.#log.warn({ file: fileName }, 'the member list is damaged');
    if (payload === undefined) return;
    const list = JSON.parse(new TextDecoder().decode(payload)) as unknown[];
    this.#members = list.map((member) => Members.fromJSON(member));
  }

  /** Where a service is asked for before the member list names it. */
  seed(identity: Identity, addresses: readonly string[]): void {
    this.#seeds.set(formatIdentity(identity), addresses);
  }

  async update(members: readonly Member[]): Promise<void> {
    const before = JSON.stringify(this.#members);
    this.#members = members;
    const text = JSON.stringify(members.map((member) => Members.toJSON(member)));
    if (before === JSON.stringify(members) && this.#kept) return;
    if (before !== JSON.stringify(members)) for (const listener of this.#listeners) listener(members);
    try {
      await this.#disk.write(fileName, seal(new TextEncoder().encode(text)));
      this.#kept = true;
    } catch (error) {
      if (!isBerthError(error)) throw error;
      this.#kept = false;
      this.#log.error({ error: error.message }, 'the member list could not be kept; the next one is');
    }
  }

  onChange(listener: (members: readonly Member[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Addresses at which an identity serves now: listed ones first. */
  addressesOf(identity: Identity): readonly string[] {
    const name = formatIdentity(identity);
    const listed = this.#members.filter((m) => m.identity === name).map((m) => m.address);
    return [...new Set([...listed, ...(this.#seeds.get(name) ?? [])])];
  }

  /** A target for a dialer that follows the list. */
  target(service: string): RpcTarget {
    const identity: Identity = { role: 'service', name: service };
    return { identity, addresses: () => this.addressesOf(identity) };
  }
}
