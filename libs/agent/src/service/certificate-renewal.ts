import type { rpc } from '@berth/contracts';
import type { RejoinRequest, RejoinResponse } from '@berth/contracts/registry';
import type { Hello } from '@berth/contracts/workload';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { BerthError, isBerthError } from '@berth/kernel';
import { asBuffer } from '../domain/bytes.ts';
import type { ClientOf } from './dispatch-client.ts';
import { RetryPause } from './retry.ts';
import { Wake } from './wake.ts';

/** Longest time between two looks: a clock that was set, a token that was put there. */
const lookIntervalMs = 30_000;
/** Longest pause after a renewal that failed. */
const retryMsMax = 10_000;
/** Nodes that are told of new CAs do not all renew at once. */
const spreadMs = 2_000;

/** A certificate and the CAs to trust, PEM. */
export interface Renewed {
  readonly cert: string;
  readonly ca: string;
}

/** The node's own certificate; implemented by the app. */
export interface NodeCertificate {
  csr(): Promise<Uint8Array>;
  save(certificate: Renewed): Promise<void>;
  /** When it is to be renewed, milliseconds since 1970. `random` in [0, 1) spreads the nodes' renewals. */
  renewalAtMs(random: number): Promise<number>;
  /** Digest of the CAs it trusts, in order. */
  trustSha256(): Promise<string>;
  /** Why nobody takes it any more; undefined as long as it is good. A token that was put there for a CA that it does not
   *  know is a reason. */
  ended(token: string | undefined): Promise<string | undefined>;
  /** Dials the join port, pinning the CA digest of the token, and rejoins. */
  rejoin(token: string, request: Omit<RejoinRequest, 'tokenSecret'>): Promise<RejoinResponse>;
}

export interface CertificateRenewalOptions {
  readonly certificate: NodeCertificate;
  readonly client: ClientOf<typeof rpc.certificate>;
  readonly hello: Hello;
  readonly nodeId: string;
  /** A manager signs for itself: it must come up with no registry. Absent on other hosts. */
  readonly sign?: (csr: Uint8Array) => Promise<Renewed>;
  /** Where an operator puts a join token, for a certificate that has ended. */
  readonly token: {
    readonly path: string;
    read(): Promise<string | undefined>;
    /** It has done its work. */
    remove(): Promise<void>;
  };
  /** The token that the agent was started with, if there still is one. */
  readonly firstToken: () => string | undefined;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
  /** What stands in the way, or undefined when nothing does. */
  readonly onTrouble: (message: string | undefined) => void;
  /** A new certificate is stored; `trust` says whether it came with other CAs. */
  readonly onRenewed: (renewed: { readonly trust: boolean }) => void;
  /** The registry says, to a node that would rejoin, that it was removed from the cluster. Called once; the loop has ended. */
  readonly onRemoved: () => void;
}

/**
 * Keeps the node's certificate good: renews it at half of its life, give or take 10 %, and whenever the registry says that
 * other CAs are to be trusted; replaces one that has ended by `Rejoin`, as soon as a join token is there. Connections take
 * the new one by themselves.
 */
export class CertificateRenewal {
  readonly #o: CertificateRenewalOptions;
  readonly #wake: Wake;
  #told: string | undefined;

  constructor(options: CertificateRenewalOptions) {
    this.#o = options;
    this.#wake = new Wake(options.clock);
  }

  /** The registry says which CAs are to be trusted now, by their digest; empty says nothing. */
  told(caSha256: string): void {
    if (caSha256 === '' || caSha256 === this.#told) return;
    this.#told = caSha256;
    this.#wake.notify();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, rng, log, onTrouble } = this.#o;
    const random = rng.next();
    const retry = new RetryPause({ clock, rng, maxMs: retryMsMax });
    let said: string | undefined;
    while (!signal.aborted) {
      try {
        const wait = (await this.#dueAtMs(random)) - clock.wall();
        if (wait > 0) {
          await this.#wake.wait(Math.min(wait, lookIntervalMs), signal);
          continue;
        }
        await this.#renew(signal);
        retry.succeeded();
        said = undefined;
        onTrouble(undefined);
      } catch (error) {
        if (signal.aborted) return;
        if (!isBerthError(error)) throw error;
        // With a certificate that has ended it hears so nowhere else.
        if (error.reason === 'NODE_LEFT') return this.#o.onRemoved();
        // What stands in the way changes: first the registry is away, then the certificate has ended.
        if (error.reason !== said)
          log.warn({ error: error.message }, 'the certificate could not be renewed; trying again');
        said = error.reason;
        onTrouble(error.message);
        await retry.pause(signal);
      }
    }
  }

  async #dueAtMs(random: number): Promise<number> {
    const { certificate, clock, token, sign } = this.#o;
    if (!sign && (await certificate.ended(await token.read())) !== undefined) return clock.wall();
    const dueAtMs = await certificate.renewalAtMs(random);
    return this.#told === undefined || this.#told === (await certificate.trustSha256()) ? dueAtMs : clock.wall();
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { certificate, log, clock, rng, onRenewed } = this.#o;
    const before = await certificate.trustSha256();
    if (this.#told !== undefined && this.#told !== before) await clock.sleep(rng.next() * spreadMs, signal);
    await certificate.save(await this.#fresh(asBuffer(await certificate.csr()), signal));
    const trust = before !== (await certificate.trustSha256());
    log.info({ trust }, 'certificate renewed');
    onRenewed({ trust });
    // What was told is older than what came now: it will be told again if it differs.
    this.#told = undefined;
  }

  async #fresh(csr: Buffer, signal: AbortSignal): Promise<Renewed> {
    const { certificate, client, sign, firstToken, nodeId, hello, log } = this.#o;
    if (sign) return sign(csr);
    const put = await this.#o.token.read();
    const why = await certificate.ended(put);
    if (why === undefined) {
      const { certificatePem, caPem } = await client.renewCertificate({ csr }, { signal });
      return { cert: certificatePem, ca: caPem };
    }
    const token = put ?? firstToken();
    if (token === undefined) {
      throw new BerthError(
        'FailedPrecondition',
        `${why}. Remedy: take a join token from \`berth cluster token\` on a machine that can reach the cluster, and put ` +
          `it into ${this.#o.token.path} on this host`,
        { reason: 'NO_TOKEN' },
      );
    }
    const { certificatePem, caPem } = await certificate.rejoin(token, { csr, nodeId, hello });
    log.info({ nodeId, why }, 'rejoined under the same id');
    if (put !== undefined) await this.#o.token.remove();
    return { cert: certificatePem, ca: caPem };
  }
}
