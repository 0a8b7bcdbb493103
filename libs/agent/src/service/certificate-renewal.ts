import type { rpc } from '@berth/contracts';
import type { Clock, Logger, Rng } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { asBuffer } from '../domain/bytes.ts';
import type { ClientOf } from './dispatch-client.ts';

/** Longest time between two looks. */
const lookIntervalMs = 3_600_000;
/** After a renewal that failed. */
const retryMs = 60_000;

/** The node's own certificate; implemented by the app. */
export interface NodeCertificate {
  csr(): Promise<Uint8Array>;
  save(certificate: { readonly cert: string; readonly ca: string }): Promise<void>;
  /** When it is to be renewed, milliseconds since 1970. `random` in [0, 1) spreads the nodes' renewals. */
  renewalAtMs(random: number): Promise<number>;
}

export interface CertificateRenewalOptions {
  readonly certificate: NodeCertificate;
  readonly client: ClientOf<typeof rpc.certificate>;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Logger;
}

/** Renews the node's certificate at half of its life, give or take 10 %. Connections take the new one by themselves. */
export async function renewCertificate(options: CertificateRenewalOptions, signal: AbortSignal): Promise<void> {
  const { certificate, client, clock, rng, log } = options;
  const random = rng.next();
  while (!signal.aborted) {
    const wait = (await certificate.renewalAtMs(random)) - clock.wall();
    if (wait > 0) {
      await clock.sleep(Math.min(wait, lookIntervalMs), signal);
      continue;
    }
    try {
      const { certificatePem, caPem } = await client.renewCertificate(
        { csr: asBuffer(await certificate.csr()) },
        { signal },
      );
      await certificate.save({ cert: certificatePem, ca: caPem });
      log.info({}, 'certificate renewed');
    } catch (error) {
      if (signal.aborted) return;
      if (!isBerthError(error)) throw error;
      log.warn({ error: error.message }, 'the certificate could not be renewed; trying again');
      await clock.sleep(retryMs, signal);
    }
  }
}
