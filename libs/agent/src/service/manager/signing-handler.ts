import type {
  AdvanceCaRequest,
  AdvanceCaResponse,
  SigningServiceImplementation,
  SignRequest,
  SignResponse,
} from '@berth/contracts/agent';
import type { CallerContext, Clock, Identity, Logger } from '@berth/kernel';
import { BerthError, formatIdentity, parseIdentity } from '@berth/kernel';
import type { Authority } from './authority.ts';

export interface SigningHandlerOptions {
  readonly authority: Authority;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called before a certificate goes out. */
  readonly onSigned: (identity: Identity) => Promise<void>;
  /** Called after the CAs were moved on. */
  readonly onAdvanced: () => void;
}

/** Signs for the registry, which has checked and recorded the request. */
export class SigningHandler implements SigningServiceImplementation<CallerContext> {
  readonly #o: SigningHandlerOptions;

  constructor(options: SigningHandlerOptions) {
    this.#o = options;
  }

  async sign(request: SignRequest): Promise<SignResponse> {
    const { authority, log, onSigned } = this.#o;
    const identity = parseIdentity(request.identity);
    // A manager's agent issues those itself: a registry that was broken into can't become a scheduler.
    if (identity.role === 'service') {
      throw new BerthError('PermissionDenied', `no certificate for ${request.identity} by this way`, {
        reason: 'NOT_SIGNABLE',
      });
    }
    const addresses = identity.role === 'node' ? request.addresses : [];
    const certificatePem = await authority.sign({ csr: request.csr, identity, addresses });
    await onSigned(identity);
    log.info({ identity: formatIdentity(identity) }, 'certificate signed');
    return { certificatePem, caPem: await authority.caPem() };
  }

  async advanceCa({ fromStep }: AdvanceCaRequest): Promise<AdvanceCaResponse> {
    const { authority, clock, log, onAdvanced } = this.#o;
    const before = await authority.caStep();
    const after = fromStep === undefined ? before : await authority.advance(fromStep);
    if (after.step !== before.step) {
      log.warn({ step: after.step }, 'the CAs were moved on');
      onAdvanced();
    }
    const stepAgeMs = Math.min(Math.max(0, clock.wall() - after.atMs), 2 ** 32 - 1);
    return { step: after.step, stepAgeMs, caPem: await authority.caPem() };
  }
}
