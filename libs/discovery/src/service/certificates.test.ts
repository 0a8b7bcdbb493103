import type { Revocation } from '@berth/contracts/registry';
import { CaPhase } from '@berth/contracts/registry';
import { MemoryLogger, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { Admission } from '../client/admission.ts';
import { as, assemble, csr, describeNode, FakeAgent, hello, nodeCaller, operator } from './testing.ts';

function setUp(options: { readonly replicas?: number } = {}) {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  const log = new MemoryLogger();
  const rng = (seed: number) => new SeededRng(seed);
  return { clock, store, log, ...assemble({ clock, store, log, rng, replicas: options.replicas ?? 1 }) };
}

const setUps: ReturnType<typeof setUp>[] = [];
const make = (options?: Parameters<typeof setUp>[0]) => {
  const made = setUp(options);
  setUps.push(made);
  return made;
};
afterEach(() => {
  for (const { end, failures } of setUps.splice(0)) {
    end.abort();
    expect(failures).toEqual([]);
  }
});

async function leave({ nodes, run, clock }: ReturnType<typeof make>, nodeId: string): Promise<void> {
  await run(nodes.removeNode({ nodeId, force: true }, operator));
  await clock.advance(100);
}

describe('revocation', () => {
  const revoke = (
    { certificates, run }: ReturnType<typeof make>,
    holder: { $case: 'identity' | 'serial'; value: string },
    caller = operator,
  ) => run(certificates.revokeCertificate({ holder }, caller));

  it('shuts a name out on every replica, by identity or by the serial of any of its certificates', async () => {
    const made = make({ replicas: 2 });
    const { certificates, run, replicas, clock } = made;
    for (const name of ['ann', 'bob']) {
      await run(certificates.issueCertificate({ csr: csr(name), role: 'operator', name }, operator));
    }
    const admissions = replicas.map(({ registry }) => new Admission(registry.feed));
    const refused = (name: string) =>
      admissions.map((admission) => admission.refusal({ role: 'operator', name }, '')?.reason);
    expect(await revoke(made, { $case: 'identity', value: 'operator:ann' })).toEqual({ identity: 'operator:ann' });
    expect(await revoke(made, { $case: 'serial', value: 'serial2' })).toEqual({ identity: 'operator:bob' });
    await clock.advance(100);
    expect(refused('ann')).toEqual(['REVOKED', 'REVOKED']);
    expect(refused('bob')).toEqual(['REVOKED', 'REVOKED']);
    expect(refused('admin')).toEqual([undefined, undefined]);
    const { certificates: list } = await run(certificates.listCertificates({}, operator));
    expect(list.map(({ identity, revoked }) => [identity, revoked])).toEqual([
      ['operator:ann', true],
      ['operator:bob', true],
    ]);
    // Again: the same answer.
    expect(await revoke(made, { $case: 'identity', value: 'operator:ann' })).toEqual({ identity: 'operator:ann' });
  });

  it('gives out no certificate for a revoked name again', async () => {
    const made = make();
    await revoke(made, { $case: 'identity', value: 'reader:grafana' });
    const issue = (name: string) =>
      made.run(made.certificates.issueCertificate({ csr: csr('k'), role: 'reader', name }, operator));
    await expect(issue('grafana')).rejects.toMatchObject({ code: 'FailedPrecondition', reason: 'NAME_REVOKED' });
    expect(made.signer.signed).toEqual([]);
    await issue('grafana-2');
  });

  it.each([
    [{ $case: 'identity', value: 'node:n1' }, 'NOT_REVOCABLE'],
    [{ $case: 'identity', value: 'service:scheduler' }, 'NOT_REVOCABLE'],
    [{ $case: 'identity', value: 'operator:admin' }, 'OWN_CERTIFICATE'],
    [{ $case: 'identity', value: 'nobody' }, 'BAD_IDENTITY'],
    [{ $case: 'serial', value: 'ff' }, 'UNKNOWN_SERIAL'],
  ] as const)('of %j is refused: %s', async (holder, reason) => {
    const made = make();
    await expect(revoke(made, holder)).rejects.toMatchObject({ reason });
    expect([...made.registry.view.revocations.values()]).toEqual([]);
  });

  it('is told to managers, with the member list, and to no other node', async () => {
    const made = make();
    const { joinNode, presence, clock } = made;
    const { nodeId } = await joinNode('k1');
    const other = await joinNode('k2', describeNode({ hostname: 'h2', manager: false }));
    const manager = new FakeAgent(presence, clock, nodeId, describeNode());
    const worker = new FakeAgent(presence, clock, other.nodeId, describeNode({ hostname: 'h2', manager: false }));
    await clock.advance(2_000);
    await revoke(made, { $case: 'identity', value: 'subscriber:ci' });
    await clock.advance(2_000);
    expect(manager.received.at(-1)?.revokedIdentities).toEqual(['subscriber:ci']);
    expect(worker.received.flatMap(({ revokedIdentities }) => revokedIdentities)).toEqual([]);
  });

  it('is mirrored, in no scope: no event tells of it', async () => {
    const made = make();
    await revoke(made, { $case: 'identity', value: 'subscriber:ci' });
    const [change] = [...made.registry.feed.resources.values()].filter(({ key }) => key.startsWith('revocation/'));
    expect(change).toMatchObject({ scopes: [], key: 'revocation/subscriber:ci' });
    expect(change?.resource?.value as Revocation).toMatchObject({ revokedBy: 'operator:admin' });
  });
});

describe('a node that has left', () => {
  it('is refused everywhere, is no member, and cannot join again by its key', async () => {
    const made = make();
    const { joinNode, registry } = made;
    await joinNode('manager');
    const { nodeId } = await joinNode('k1', describeNode({ hostname: 'h3' }));
    await joinNode('k2', describeNode({ hostname: 'h2' }));
    const admission = new Admission(registry.feed);
    expect(admission.refusal({ role: 'node', id: nodeId }, 'sha-k1')).toBeUndefined();
    expect(admission.refusal({ role: 'node', id: nodeId }, 'sha-k2')?.reason).toBe('FOREIGN_KEY');
    let told = 0;
    admission.onChange(() => {
      told += 1;
    });
    await leave(made, nodeId);
    expect(told).toBeGreaterThan(0);
    expect(admission.refusal({ role: 'node', id: nodeId }, 'sha-k1')?.reason).toBe('NODE_LEFT');
    expect(registry.view.memberList().map(({ identity }) => identity)).not.toContain(`node:${nodeId}`);
    await expect(joinNode('k1')).rejects.toMatchObject({ code: 'PermissionDenied', reason: 'NODE_LEFT' });
  });

  it('renews nothing; nor does one that stays, for another key', async () => {
    const made = make();
    const { joinNode, certificates, run } = made;
    await joinNode('manager');
    const { nodeId } = await joinNode('k1', describeNode({ hostname: 'h3' }));
    const renew = (key: string) => run(certificates.renewCertificate({ csr: csr(key) }, nodeCaller(nodeId)));
    await expect(renew('other')).rejects.toMatchObject({ code: 'InvalidArgument', reason: 'FOREIGN_KEY' });
    await renew('k1');
    await leave(made, nodeId);
    await expect(renew('k1')).rejects.toMatchObject({ code: 'PermissionDenied', reason: 'NODE_LEFT' });
  });
});

describe('Rejoin', () => {
  const rejoin = ({ join, run }: ReturnType<typeof make>, nodeId: string, key: string, tokenSecret = 'secret') =>
    run(join.rejoin({ tokenSecret, csr: csr(key), nodeId, hello }, as({ role: 'anyone' })));

  it('gives a node a new certificate under its id, and changes nothing else of it', async () => {
    const made = make();
    const { nodeId } = await made.joinNode('k1', describeNode({ labels: { disk: 'ssd' } }));
    const before = made.registry.view.node(nodeId);
    const answer = await rejoin(made, nodeId, 'k1');
    expect(answer).toMatchObject({ certificatePem: `node:${nodeId}|serial2|k1`, caPem: 'CA0' });
    expect(answer.members).toEqual([]);
    expect(made.signer.signed.at(-1)).toEqual({ identity: `node:${nodeId}`, addresses: ['198.18.0.1'] });
    expect(made.registry.view.node(nodeId)).toEqual(before);
  });

  it('is refused for another key, an unknown node, a wrong token, and a node that was removed', async () => {
    const made = make();
    await made.joinNode('manager');
    const { nodeId } = await made.joinNode('k1', describeNode({ hostname: 'h2' }));
    const signed = made.signer.signed.length;
    await expect(rejoin(made, nodeId, 'other')).rejects.toMatchObject({ reason: 'FOREIGN_KEY' });
    await expect(rejoin(made, 'nobody', 'k1')).rejects.toMatchObject({ reason: 'NODE_UNKNOWN' });
    await expect(rejoin(made, nodeId, 'k1', 'wrong')).rejects.toMatchObject({ reason: 'BAD_TOKEN' });
    await leave(made, nodeId);
    await expect(rejoin(made, nodeId, 'k1')).rejects.toMatchObject({ reason: 'NODE_LEFT' });
    expect(made.signer.signed).toHaveLength(signed);
  });
});

describe('a rotated token', () => {
  it('ends all before it; nodes that have joined stay', async () => {
    const made = make();
    const { certificates, run, joinNode, registry } = made;
    const { nodeId } = await joinNode('k1');
    const { token } = await run(certificates.createToken({ ttlMs: 60_000 }, operator));
    expect(token).not.toBe('');
    await run(certificates.rotateToken({}, operator));
    await expect(joinNode('k2')).rejects.toMatchObject({ reason: 'BAD_TOKEN' });
    await run(certificates.renewCertificate({ csr: csr('k1') }, nodeCaller(nodeId)));
    expect(new Admission(registry.feed).refusal({ role: 'node', id: nodeId }, 'sha-k1')).toBeUndefined();
  });
});

describe('a rotation of the CAs', () => {
  const digest = (step: number): string => Buffer.from(`CA${step}`).toString('hex').padStart(64, '0');

  it('goes on when nodes and people follow, and ends the join tokens', async () => {
    const made = make();
    const { certificates, presence, clock, run, joinNode, signer, registry } = made;
    const { nodeId } = await joinNode('k1');
    const ask = (request: Partial<{ start: boolean; advance: boolean; leaveBehind: boolean }>) =>
      run(certificates.rotateCa({ start: false, advance: true, leaveBehind: false, ...request }, operator));
    const follow = async (): Promise<void> => {
      new FakeAgent(presence, clock, nodeId, describeNode({ trustedCaSha256: digest(signer.step) }));
      await clock.advance(1_000);
      await run(certificates.renewCertificate({ csr: csr('ann') }, ann));
    };
    const ann = as({ role: 'operator', name: 'ann' });
    await run(certificates.issueCertificate({ csr: csr('ann'), role: 'operator', name: 'ann' }, operator));
    await follow();
    expect(await ask({})).toMatchObject({ phase: CaPhase.CA_PHASE_STEADY, generation: 1, advanced: false });
    expect(await ask({ start: true })).toMatchObject({
      phase: CaPhase.CA_PHASE_TRUSTING,
      advanced: true,
      waitingNodes: ['h1'],
      waitingPeople: ['operator:ann'],
    });
    signer.stepAgeMs = 60_000;
    expect(await ask({})).toMatchObject({ advanced: false });
    await follow();
    expect(await ask({ advance: false })).toMatchObject({ advanced: false, waitingNodes: [], waitingPeople: [] });
    expect(await ask({})).toMatchObject({ phase: CaPhase.CA_PHASE_SWITCHED, generation: 2, advanced: true });
    signer.stepAgeMs = 60_000;
    await follow();
    expect([...registry.view.tokens.values()]).toHaveLength(1);
    expect(await ask({})).toMatchObject({ phase: CaPhase.CA_PHASE_STEADY, generation: 2, advanced: true });
    await clock.advance(100);
    expect([...registry.view.tokens.values()]).toEqual([]);
    await expect(joinNode('k9')).rejects.toMatchObject({ reason: 'BAD_TOKEN' });
  });
});
