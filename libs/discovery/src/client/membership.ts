import { helloOf } from '@berth/contracts';
import type { Member, PresenceServiceClient } from '@berth/contracts/registry';
import type { CallExtra, Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';

const backoffFirstMs = 100;
const backoffMaxMs = 2_000;

export interface MembershipOptions {
  readonly client: PresenceServiceClient<CallExtra>;
  readonly clusterId: string;
  /** This instance: `instance` new at every start, `address` where it serves. Its identity is its certificate's. */
  readonly member: Member;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
}

/** Keeps a service instance on the registry's member list, and that list at hand: how services find each other. */
export class Membership {
  readonly #options: MembershipOptions;
  #members: readonly Member[] = [];

  constructor(options: MembershipOptions) {
    this.#options = options;
  }

  /** The list as last heard; kept while the registry is away. */
  get members(): readonly Member[] {
    return this.#members;
  }

  /** Addresses (`host:port`) of an identity's instances, e.g. of `service:scheduler`. */
  addressesOf(identity: string): string[] {
    return this.#members.filter((member) => member.identity === identity).map(({ address }) => address);
  }

  /** Announces until the signal aborts; over reconnects and replicas of the registry. */
  async run(signal: AbortSignal): Promise<void> {
    const { client, clusterId, member, clock, rng, log } = this.#options;
    const request = { hello: helloOf(clusterId, member.version), member };
    let failures = 0;
    while (!signal.aborted) {
      try {
        for await (const { members } of client.announceMember(request, { signal })) {
          this.#members = members;
          failures = 0;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        if (failures === 0) log.warn({ error }, 'the registry does not list this instance now; trying again');
      }
      const backoffMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(failures, 10));
      failures += 1;
      await clock.sleep(backoffMs * (0.5 + rng.next() / 2), signal);
    }
  }
}
