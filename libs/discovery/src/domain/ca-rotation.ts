import type { IssuedCertificate, Node, RotateCaRequest } from '@berth/contracts/registry';
import { CaPhase, NodeStatus } from '@berth/contracts/registry';

/** Services look for new certificates every 5 s; after this time since the last step all have read theirs. */
export const settleMs = 15_000;

/** What a step of a rotation depends on. */
export interface RotationSight {
  /** Steps done since the cluster was made; three make a rotation. */
  readonly step: number;
  readonly stepAgeMs: number;
  /** Digest of the CAs to trust at this step. */
  readonly caSha256: string;
  readonly nodes: readonly Node[];
  /** Certificates that are valid and not revoked. */
  readonly certificates: readonly IssuedCertificate[];
}

/** For whom a rotation waits, and whether it may go on. */
export interface RotationPlan {
  readonly phase: CaPhase;
  readonly generation: number;
  readonly settlingMs: number;
  readonly waitingNodes: readonly string[];
  readonly absentNodes: readonly string[];
  readonly waitingPeople: readonly string[];
  readonly advance: boolean;
}

const phases = [CaPhase.CA_PHASE_STEADY, CaPhase.CA_PHASE_TRUSTING, CaPhase.CA_PHASE_SWITCHED] as const;

/**
 * A step may follow when everybody has what the one before brought: services by time, nodes by their own word, people and
 * programs by having renewed. Nodes that are not ready and people can be left behind; a node that is ready never.
 */
export function planRotation(sight: RotationSight, request: RotateCaRequest): RotationPlan {
  const phase = phases[sight.step % 3] ?? CaPhase.CA_PHASE_STEADY;
  const behind = sight.nodes.filter(
    ({ status, trustedCaSha256 }) => status !== NodeStatus.NODE_STATUS_LEFT && trustedCaSha256 !== sight.caSha256,
  );
  const names = (ready: boolean): string[] =>
    behind
      .filter(({ status }) => (status === NodeStatus.NODE_STATUS_READY) === ready)
      .map(({ hostname }) => hostname)
      .sort();
  const waitingNodes = names(true);
  const absentNodes = names(false);
  const waitingPeople = peopleBehind(sight);
  const settlingMs = sight.step === 0 ? 0 : Math.max(0, settleMs - sight.stepAgeMs);
  const asked = phase === CaPhase.CA_PHASE_STEADY ? request.start : request.start || request.advance;
  const complete = request.leaveBehind || (absentNodes.length === 0 && waitingPeople.length === 0);
  return {
    phase,
    generation: 1 + Math.floor((sight.step + 1) / 3),
    settlingMs,
    waitingNodes,
    absentNodes,
    waitingPeople,
    advance: asked && settlingMs === 0 && waitingNodes.length === 0 && complete,
  };
}

/** Who holds certificates, none of which came with the CAs of this step. */
function peopleBehind({ certificates, caSha256 }: RotationSight): string[] {
  const people = certificates.filter(({ identity }) => /^(?:operator|reader|subscriber):/u.test(identity));
  const current = new Set(people.filter((each) => each.caSha256 === caSha256).map(({ identity }) => identity));
  return [...new Set(people.map(({ identity }) => identity))].filter((identity) => !current.has(identity)).sort();
}
