import { CaPhase, IssuedCertificate, Node, NodeStatus } from '@berth/contracts/registry';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RotationSight } from './ca-rotation.ts';
import { planRotation, settleMs } from './ca-rotation.ts';

const { NODE_STATUS_READY, NODE_STATUS_LOST, NODE_STATUS_LEFT } = NodeStatus;
const node = (hostname: string, trustedCaSha256 = 'now', status: NodeStatus = NODE_STATUS_READY) =>
  Node.fromPartial({ id: hostname, hostname, status, trustedCaSha256 });
const issued = (identity: string, caSha256 = 'now') => IssuedCertificate.fromPartial({ identity, caSha256 });
const sight = (partial: Partial<RotationSight> = {}): RotationSight => ({
  step: 1,
  stepAgeMs: settleMs,
  caSha256: 'now',
  nodes: [],
  certificates: [],
  ...partial,
});
const go = { start: false, advance: true, leaveBehind: false };

describe('a rotation of the CAs', () => {
  it('begins only when it is asked to, and names phase and generation', () => {
    expect(planRotation(sight({ step: 0 }), go).advance).toBe(false);
    expect(planRotation(sight({ step: 0, stepAgeMs: 0 }), { ...go, start: true }).advance).toBe(true);
    const shown = [0, 1, 2, 3, 4, 5].map((step) => planRotation(sight({ step }), go));
    expect(shown.map(({ generation }) => generation)).toEqual([1, 1, 2, 2, 2, 3]);
    expect(shown.map(({ phase }) => phase)).toEqual([
      ...[CaPhase.CA_PHASE_STEADY, CaPhase.CA_PHASE_TRUSTING, CaPhase.CA_PHASE_SWITCHED],
      ...[CaPhase.CA_PHASE_STEADY, CaPhase.CA_PHASE_TRUSTING, CaPhase.CA_PHASE_SWITCHED],
    ]);
  });

  it('waits for services by time', () => {
    expect(planRotation(sight({ stepAgeMs: settleMs - 1_000 }), go)).toMatchObject({
      advance: false,
      settlingMs: 1_000,
    });
    expect(planRotation(sight(), go)).toMatchObject({ advance: true, settlingMs: 0 });
  });

  it('waits for every node that has not left; leaves behind absent ones if told to, ready ones never', () => {
    const nodes = [
      node('c', 'before'),
      node('a', '', NODE_STATUS_LOST),
      node('gone', '', NODE_STATUS_LEFT),
      node('good'),
    ];
    expect(planRotation(sight({ nodes }), go)).toMatchObject({
      advance: false,
      waitingNodes: ['c'],
      absentNodes: ['a'],
    });
    const absent = sight({ nodes: nodes.slice(1) });
    expect(planRotation(absent, go).advance).toBe(false);
    expect(planRotation(absent, { ...go, leaveBehind: true }).advance).toBe(true);
    expect(planRotation(sight({ nodes }), { ...go, leaveBehind: true }).advance).toBe(false);
  });

  it('waits for people whose newest certificate came with other CAs', () => {
    const certificates = [
      issued('operator:ann', 'before'),
      issued('operator:ann'),
      issued('reader:ci', ''),
      issued('node:n1', 'before'),
    ];
    expect(planRotation(sight({ certificates }), go)).toMatchObject({ advance: false, waitingPeople: ['reader:ci'] });
    expect(planRotation(sight({ certificates }), { ...go, leaveBehind: true }).advance).toBe(true);
  });

  it('never goes on while a ready node would be shut out', () => {
    const status = fc.constantFrom(NODE_STATUS_READY, NODE_STATUS_LOST, NODE_STATUS_LEFT);
    const anyNode = fc.tuple(fc.string(), fc.constantFrom('now', 'before', ''), status);
    fc.assert(
      fc.property(
        fc.record({ step: fc.nat(8), stepAgeMs: fc.nat(60_000), nodes: fc.array(anyNode) }),
        fc.record({ start: fc.boolean(), advance: fc.boolean(), leaveBehind: fc.boolean() }),
        ({ nodes, ...rest }, request) => {
          const all = nodes.map((each) => node(...each));
          const { advance } = planRotation(sight({ ...rest, nodes: all }), request);
          const behind = all.some((each) => each.status === NODE_STATUS_READY && each.trustedCaSha256 !== 'now');
          expect(advance && behind).toBe(false);
          if (advance) expect(request.start || request.advance).toBe(true);
        },
      ),
    );
  });
});
