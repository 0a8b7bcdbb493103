import { BerthError } from '@berth/kernel';
import { MemoryLogger, SeededRng, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import type { CertificateRenewalOptions, NodeCertificate, Renewed } from './certificate-renewal.ts';
import { CertificateRenewal } from './certificate-renewal.ts';

/** Lives of minutes stand for those of days. */
const day = 60_000;

/** A certificate of 90 days, due after 45. */
class FakeCertificate implements NodeCertificate {
  issuedMs: number;
  trust = 'CA1';
  readonly saved: string[] = [];
  readonly rejoined: string[] = [];
  rejoin = async (token: string, { nodeId }: { nodeId?: string | undefined }) => {
    this.rejoined.push(`${nodeId} ${token}`);
    return { certificatePem: 'rejoined', caPem: 'CA1', members: [] };
  };
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
    this.issuedMs = clock.wall();
  }

  csr = async () => Buffer.from('csr');
  renewalAtMs = async () => this.issuedMs + 45 * day;
  trustSha256 = async () => this.trust;

  async save({ cert, ca }: Renewed): Promise<void> {
    this.issuedMs = this.#clock.wall();
    this.trust = ca;
    this.saved.push(cert);
  }

  async ended(token: string | undefined): Promise<string | undefined> {
    if (this.#clock.wall() >= this.issuedMs + 90 * day) return 'it has ended';
    return token?.startsWith('other') ? 'another CA' : undefined;
  }
}

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function setUp(options: { readonly manager?: boolean; readonly firstToken?: string } = {}) {
  const clock = new VirtualClock();
  const certificate = new FakeCertificate(clock);
  const state = { away: false, token: undefined as string | undefined, ca: 'CA1' };
  const troubles: (string | undefined)[] = [];
  const renewed: boolean[] = [];
  const removals: number[] = [];
  const log = new MemoryLogger();
  const renewal = new CertificateRenewal({
    certificate,
    client: {
      renewCertificate: async () => {
        if (state.away) throw new BerthError('Unavailable', 'no registry');
        return { certificatePem: 'renewed', caPem: state.ca };
      },
    } as unknown as CertificateRenewalOptions['client'],
    hello: { protocol: 1, clusterId: 'c1', version: '' } as never,
    nodeId: 'n1',
    ...(options.manager && { sign: async () => ({ cert: 'signed', ca: state.ca }) }),
    token: {
      path: '/var/lib/berth/join-token',
      read: async () => state.token,
      remove: async () => {
        state.token = undefined;
      },
    },
    firstToken: () => options.firstToken,
    clock,
    rng: new SeededRng(1),
    log,
    onTrouble: (message) => void troubles.push(message),
    onRenewed: ({ trust }) => void renewed.push(trust),
    onRemoved: () => void removals.push(clock.wall()),
  });
  const abort = new AbortController();
  const running = renewal.run(abort.signal);
  ends.push(async () => {
    abort.abort();
    await clock.advance(0);
    await running;
  });
  return { clock, certificate, state, troubles, renewed, removals, renewal, running };
}

describe("a node's certificate", () => {
  it('is renewed at half of its life, again and again', async () => {
    const { clock, certificate, renewed } = setUp();
    await clock.advance(44 * day);
    expect(certificate.saved).toEqual([]);
    await clock.advance(2 * day);
    expect(certificate.saved).toEqual(['renewed']);
    await clock.advance(46 * day);
    expect(certificate.saved).toEqual(['renewed', 'renewed']);
    expect(renewed).toEqual([false, false]);
  });

  it('is asked for no more once the registry says that the node was removed', async () => {
    const { clock, certificate, removals, running } = setUp({ firstToken: 'token' });
    certificate.issuedMs -= 91 * day;
    certificate.rejoin = async () => {
      throw new BerthError('PermissionDenied', 'node n1 was removed', { reason: 'NODE_LEFT' });
    };
    await clock.advance(60_000);
    await running;
    expect(removals).toHaveLength(1);
  });

  it('is renewed at once when the registry names other CAs, and once only', async () => {
    const { clock, certificate, state, renewal, renewed } = setUp();
    renewal.told('CA1');
    await clock.advance(5_000);
    expect(certificate.saved).toEqual([]);
    state.ca = 'CA1+CA2';
    renewal.told('CA1+CA2');
    renewal.told('CA1+CA2');
    await clock.advance(5_000);
    expect(certificate.saved).toEqual(['renewed']);
    expect(renewed).toEqual([true]);
    await clock.advance(40_000);
    expect(certificate.saved).toHaveLength(1);
  });

  it('that has ended says what to do, and is replaced as soon as a token is there, under the same id', async () => {
    const { clock, certificate, state, troubles } = setUp();
    state.away = true;
    await clock.advance(91 * day);
    expect(certificate.saved).toEqual([]);
    expect(troubles.at(-1)).toMatch(/it has ended\. Remedy: .*berth cluster token.*\/var\/lib\/berth\/join-token/u);
    state.token = 'token';
    await clock.advance(11_000);
    expect(certificate.rejoined).toEqual(['n1 token']);
    expect(certificate.saved).toEqual(['rejoined']);
    expect(troubles.at(-1)).toBeUndefined();
    // It has done its work, and is not used for anything later.
    expect(state.token).toBeUndefined();
  });

  it('that has ended is replaced with the token that the agent was started with, if that is still good', async () => {
    const { clock, certificate, state } = setUp({ firstToken: 'first' });
    state.away = true;
    await clock.advance(91 * day);
    expect(certificate.rejoined).toEqual(['n1 first']);
    // As long as it has not ended, the old token is no reason for anything.
    await clock.advance(day);
    expect(certificate.rejoined).toHaveLength(1);
  });

  it('is tried again when the token is refused', async () => {
    const { clock, certificate, state, troubles } = setUp();
    const { rejoin } = certificate;
    certificate.rejoin = async () => {
      throw new BerthError('PermissionDenied', 'the join token is not valid (any more)', { reason: 'BAD_TOKEN' });
    };
    state.token = 'other CA';
    await clock.advance(60_000);
    expect(troubles.at(-1)).toMatch(/not valid/u);
    certificate.rejoin = rejoin;
    state.token = 'other, good';
    await clock.advance(11_000);
    expect(certificate.rejoined).toEqual(['n1 other, good']);
  });

  it('of a manager is signed by itself, with no registry', async () => {
    const { clock, certificate, state, troubles } = setUp({ manager: true });
    state.away = true;
    await clock.advance(400 * day);
    expect(new Set(certificate.saved)).toEqual(new Set(['signed']));
    expect(certificate.saved.length).toBeGreaterThan(7);
    expect(troubles.filter((each) => each !== undefined)).toEqual([]);
  });
});
