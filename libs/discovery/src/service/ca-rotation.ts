import type { SigningServiceClient } from '@berth/contracts/agent';
import type { RotateCaRequest, RotateCaResponse } from '@berth/contracts/registry';
import { CaPhase } from '@berth/contracts/registry';
import type { CallExtra, Clock, Logger, Store } from '@berth/kernel';
import type { RotationSight } from '../domain/ca-rotation.ts';
import { planRotation, settleMs } from '../domain/ca-rotation.ts';
import { tokens } from '../domain/records.ts';
import type { CertificateTools } from './ports.ts';
import type { Registry } from './registry.ts';

export interface CaRotationOptions {
  readonly registry: Registry;
  readonly signer: Pick<SigningServiceClient<CallExtra>, 'advanceCa'>;
  readonly tools: Pick<CertificateTools, 'trustDigest'>;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Moves the rotation of the CAs on, which the manager's agent keeps: whoever calls, and however often, a step is done once,
 *  and only when everybody is ready for it. */
export class CaRotation {
  readonly #o: CaRotationOptions;

  constructor(options: CaRotationOptions) {
    this.#o = options;
  }

  async rotate(request: RotateCaRequest, caller: string, signal: AbortSignal): Promise<RotateCaResponse> {
    const { registry, signer, log } = this.#o;
    await registry.feed.waitFor(undefined, signal);
    const sight = this.#sight(await signer.advanceCa({}, { signal }));
    const plan = planRotation(sight, request);
    if (!plan.advance) return { ...answer(plan), advanced: false };
    // Tokens name the CA that signed when they were made: with the old one they end.
    if (plan.phase === CaPhase.CA_PHASE_SWITCHED) await this.#endTokens();
    const after = this.#sight(await signer.advanceCa({ fromStep: sight.step }, { signal }));
    log.warn({ caller, step: after.step }, 'rotation of the CAs went on');
    return {
      ...answer(planRotation(after, { start: false, advance: false, leaveBehind: false })),
      settlingMs: settleMs,
      advanced: true,
    };
  }

  #sight({ step, stepAgeMs, caPem }: { step: number; stepAgeMs: number; caPem: string }): RotationSight {
    const { registry, tools, clock } = this.#o;
    const { view } = registry;
    const nowMs = clock.wall();
    return {
      step,
      stepAgeMs,
      caSha256: tools.trustDigest(caPem),
      nodes: view.allNodes(),
      certificates: [...view.certificates.values()]
        .map(({ value }) => value)
        .filter(({ notAfterMs, identity }) => notAfterMs > nowMs && !view.revocations.get(identity)),
    };
  }

  async #endTokens(): Promise<void> {
    const { store } = this.#o;
    const { entries } = await store.list(tokens.prefix);
    if (entries.length === 0) return;
    await store.txn({ compares: [], ops: entries.map(({ key }) => ({ kind: 'delete', key })) });
  }
}

function answer(plan: ReturnType<typeof planRotation>): Omit<RotateCaResponse, 'advanced'> {
  const { advance: _, waitingNodes, absentNodes, waitingPeople, ...rest } = plan;
  return {
    ...rest,
    waitingNodes: [...waitingNodes],
    absentNodes: [...absentNodes],
    waitingPeople: [...waitingPeople],
  };
}
