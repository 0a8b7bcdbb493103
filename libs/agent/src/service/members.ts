import type { Member } from '@berth/contracts/registry';
import { Member as Members } from '@berth/contracts/registry';
import type { Disk, Identity, Logger, RpcTarget } from '@berth/kernel';
import { formatIdentity, isBerthError } from '@berth/kernel';
import { seal, unseal } from '../domain/sealed.ts';

const membersFile = 'cache/members';
/** A file of its own: if the list is damaged, it still leads to the cluster. */
const registriesFile = 'cache/registries';
/** Addresses of registries that are remembered though the list no longer names them. */
const registriesMax = 8;
const registry = 'service:registry';

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
  /** Where registries are or were, newest first: the list says where the others are, so the way to it is never forgotten. */
  #registries: readonly string[] = [];
  /** What is on disk. */
  readonly #kept = new Map<string, string>();
  #seeds = new Map<string, readonly string[]>();

  constructor(options: MemberDirectoryOptions) {
    this.#disk = options.disk;
    this.#log = options.log;
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  async load(): Promise<void> {
    const list = (await this.#read(membersFile)) as unknown[];
    this.#members = list.map((member) => Members.fromJSON(member));
    this.#registries = (await this.#read(registriesFile)) as string[];
  }

  /** Where a service is asked for before the member list names it. */
  seed(identity: Identity, addresses: readonly string[]): void {
    this.#seeds.set(formatIdentity(identity), addresses);
  }

  async update(members: readonly Member[]): Promise<void> {
    const changed = JSON.stringify(this.#members) !== JSON.stringify(members);
    this.#members = members;
    const listed = members.filter((member) => member.identity === registry).map((member) => member.address);
    this.#registries = [...new Set([...listed, ...this.#registries])].slice(0, registriesMax);
    if (changed) for (const listener of this.#listeners) listener(members);
    await this.#write(
      membersFile,
      members.map((member) => Members.toJSON(member)),
    );
    await this.#write(registriesFile, this.#registries);
  }

  /** An empty list if there is none, or a damaged one. */
  async #read(file: string): Promise<unknown> {
    const sealed = await this.#disk.read(file);
    if (sealed === undefined) return [];
    const payload = unseal(sealed);
    if (payload === undefined) {
      this.#log.warn({ file }, 'a list of members is damaged');
      return [];
    }
    const text = new TextDecoder().decode(payload);
    this.#kept.set(file, text);
    return JSON.parse(text);
  }

  async #write(file: string, list: unknown): Promise<void> {
    const text = JSON.stringify(list);
    if (this.#kept.get(file) === text) return;
    try {
      await this.#disk.write(file, seal(new TextEncoder().encode(text)));
      this.#kept.set(file, text);
    } catch (error) {
      if (!isBerthError(error)) throw error;
      this.#log.error({ error: error.message }, 'the member list could not be kept; the next one is');
    }
  }

  onChange(listener: (members: readonly Member[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Addresses at which an identity serves now: listed ones first, for registries those of earlier lists last. */
  addressesOf(identity: Identity): readonly string[] {
    const name = formatIdentity(identity);
    const listed = this.#members.filter((m) => m.identity === name).map((m) => m.address);
    return [...new Set([...listed, ...(this.#seeds.get(name) ?? []), ...(name === registry ? this.#registries : [])])];
  }

  /** A target for a dialer that follows the list. */
  target(service: string): RpcTarget {
    const identity: Identity = { role: 'service', name: service };
    return { identity, addresses: () => this.addressesOf(identity) };
  }
}
