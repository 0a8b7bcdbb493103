import { rpc } from '@berth/contracts';
import type { RuntimeServiceImplementation } from '@berth/contracts/agent';
import type { CertificateServiceImplementation, PresenceServiceImplementation } from '@berth/contracts/registry';
import type { BoundService, CallerContext, Identity, RpcDialer, RpcTarget } from '@berth/kernel';
import { BerthError, bind, formatIdentity, isBerthError } from '@berth/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** A transport to test: servers and dialers of any identity. */
export interface RpcUnderTest {
  /** Serves as somebody; resolves with the address. */
  serve(
    identity: Identity,
    services: readonly BoundService[],
  ): Promise<{ readonly address: string /** At once, as a kill would. */; kill(): Promise<void> }>;
  /** A dialer that is somebody. */
  dialer(identity: Identity): RpcDialer;
  /** Waits for a promise while the transport's time passes. */
  run<T>(promise: Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const registry: Identity = { role: 'service', name: 'registry' };
const scheduler: Identity = { role: 'service', name: 'scheduler' };
const node: Identity = { role: 'node', id: 'n1' };
const operator: Identity = { role: 'operator', name: 'admin' };

/** Handlers that answer with what they saw. */
class Probe {
  calls = 0;
  aborted = 0;
  failures = 0;
  onList: (calls: number) => Promise<void> = async () => {};

  readonly certificate: CertificateServiceImplementation<CallerContext> = {
    renewCertificate: async (request, { caller }) => {
      this.calls += 1;
      return { certificatePem: formatIdentity(caller), caPem: String(request.csr?.length) };
    },
    issueCertificate: async (request) => {
      this.calls += 1;
      await this.onList(this.calls);
      if (request.name === 'known') {
        throw new BerthError('AlreadyExists', 'there is a known', { reason: 'NAME_TAKEN', details: { name: 'known' } });
      }
      if (request.name === 'bug') throw new TypeError('secret internals');
      return {};
    },
    listCertificates: async (_request, { signal }) => {
      this.calls += 1;
      signal.addEventListener('abort', () => {
        this.aborted += 1;
      });
      await this.onList(this.calls);
      return { certificates: [{ serial: String(this.calls) }] };
    },
    createToken: async () => ({ token: '', expiresAtMs: 0 }),
    revokeCertificate: async () => ({}),
    rotateCa: async () => ({}),
    rotateToken: async (_request, { signal }) => {
      this.calls += 1;
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      this.aborted += 1;
      return { token: 'never seen' };
    },
  };

  readonly presence = {
    connect: async function* (requests: AsyncIterable<{ readonly step?: { readonly $case: string } }>) {
      let beats = 0;
      for await (const request of requests) {
        if (request.step?.$case === 'heartbeat') beats += 1;
        yield { heartbeatIntervalMs: beats };
      }
      yield { epoch: 'end' };
    },
  } as unknown as Pick<PresenceServiceImplementation<CallerContext>, 'connect'>;

  readonly runtime = {
    logs: async function* (this: Probe, request: { readonly tail?: number }, { signal }: { signal: AbortSignal }) {
      this.calls += 1;
      signal.addEventListener('abort', () => {
        this.aborted += 1;
      });
      for (let line = 0; line < (request.tail ?? 0); line += 1)
        yield { line: new TextEncoder().encode(`line ${line}`) };
      if (request.tail === 3) throw new BerthError('NotFound', 'the task is gone', { reason: 'TASK_GONE' });
      if (request.tail === 1) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    }.bind(this),
  } as unknown as Pick<RuntimeServiceImplementation<CallerContext>, 'logs'>;

  services(): BoundService[] {
    // Handlers of methods that no test calls are left out; a transport looks only at those it is asked for.
    return [
      bind(rpc.certificate, this.certificate),
      bind(rpc.presence, { announceEndpoints: unused, announceMember: unusedStream, ...this.presence }),
      bind(rpc.runtime, {
        exec: unusedStream,
        inspect: unused,
        stats: unusedStream,
        loadImage: unusedStream,
        saveImage: unusedStream,
        ...this.runtime,
      }),
    ];
  }
}

const unused = async (): Promise<never> => {
  throw new Error('not part of the suite');
};
// biome-ignore lint/correctness/useYield: it never gets that far.
const unusedStream = async function* (): AsyncGenerator<never> {
  throw new Error('not part of the suite');
};

async function failure(promise: Promise<unknown>): Promise<BerthError> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  if (!isBerthError(error)) throw error;
  return error;
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** What every RPC transport keeps to: identity, access, typed errors, streams, deadlines, fail-over. */
export function rpcContract(name: string, make: () => Promise<RpcUnderTest>): void {
  describe(`rpc: ${name}`, () => {
    let under: RpcUnderTest;
    let probe: Probe;
    let target: RpcTarget;
    let kill: () => Promise<void>;
    beforeEach(async () => {
      under = await make();
      probe = new Probe();
      const server = await under.serve(registry, probe.services());
      kill = server.kill;
      target = { identity: registry, addresses: () => [server.address] };
    });
    afterEach(() => under.close());

    it('tells the handler who calls', async () => {
      for (const who of [operator, node]) {
        const client = under.dialer(who).client(rpc.certificate, target);
        const answer = await under.run(client.renewCertificate({ csr: Buffer.alloc(7) }));
        expect(answer).toEqual({ certificatePem: formatIdentity(who), caPem: '7' });
      }
    });

    it('refuses whom the rule of the method does not admit, before the handler', async () => {
      const refused: [Identity, 'issueCertificate' | 'listCertificates' | 'rotateToken'][] = [
        [node, 'issueCertificate'],
        [scheduler, 'listCertificates'],
        [{ role: 'reader', name: 'r' }, 'rotateToken'],
        [{ role: 'subscriber', name: 's' }, 'issueCertificate'],
      ];
      for (const [who, method] of refused) {
        const client = under.dialer(who).client(rpc.certificate, target);
        const error = await under.run(failure(client[method]({})));
        expect(error).toMatchObject({ code: 'PermissionDenied', reason: 'ACCESS_DENIED' });
        expect(error.details).toMatchObject({ caller: formatIdentity(who), allow: 'operator' });
      }
      const stream = under.dialer(node).client(rpc.runtime, target).logs({ tail: 2 });
      expect(await under.run(failure(all(stream)))).toMatchObject({ code: 'PermissionDenied' });
      expect(probe.calls).toBe(0);
    });

    it('brings typed errors back with reason and details', async () => {
      const client = under.dialer(operator).client(rpc.certificate, target);
      const error = await under.run(failure(client.issueCertificate({ name: 'known' })));
      expect(error).toMatchObject({
        code: 'AlreadyExists',
        message: 'there is a known',
        reason: 'NAME_TAKEN',
        details: { name: 'known' },
      });
    });

    it("keeps a programmer's error to itself", async () => {
      const client = under.dialer(operator).client(rpc.certificate, target);
      const error = await under.run(failure(client.issueCertificate({ name: 'bug' })));
      expect(error).toMatchObject({ code: 'Internal', reason: 'INTERNAL' });
      expect(error.message).not.toContain('secret internals');
    });

    it('streams answers in order, then the error', async () => {
      const client = under.dialer(scheduler).client(rpc.runtime, target);
      const lines: string[] = [];
      const reading = (async () => {
        for await (const { line } of client.logs({ tail: 3 })) lines.push(new TextDecoder().decode(line));
      })();
      expect(await under.run(failure(reading))).toMatchObject({ code: 'NotFound', reason: 'TASK_GONE' });
      expect(lines).toEqual(['line 0', 'line 1', 'line 2']);
      expect(await under.run(all(client.logs({ tail: 200 })))).toHaveLength(200);
    });

    it('streams both ways', async () => {
      const client = under.dialer(node).client(rpc.presence, target);
      async function* requests() {
        yield { step: { $case: 'hello', value: {} } as const };
        for (let beat = 0; beat < 3; beat += 1) yield { step: { $case: 'heartbeat', value: {} } as const };
      }
      const answers = await under.run(all(client.connect(requests())));
      expect(answers.map((answer) => answer.heartbeatIntervalMs)).toEqual([0, 1, 2, 3, 0]);
      expect(answers.at(-1)?.epoch).toBe('end');
    });

    it('ends the handler when the client aborts a stream, or leaves its loop', async () => {
      const client = under.dialer(scheduler).client(rpc.runtime, target);
      const controller = new AbortController();
      const reading = (async () => {
        for await (const _line of client.logs({ tail: 1 }, { signal: controller.signal })) controller.abort();
      })();
      expect(await under.run(failure(reading))).toMatchObject({ code: 'Cancelled' });
      await under.run(
        (async () => {
          for await (const _line of client.logs({ tail: 1 })) break;
        })(),
      );
      await under.run(until(() => probe.aborted === 2));
    });

    it('ends a unary call at its deadline, and tells the handler', async () => {
      const client = under.dialer(operator).client(rpc.certificate, target);
      const error = await under.run(failure(client.rotateToken({}, { timeoutMs: 200 })));
      expect(error).toMatchObject({ code: 'DeadlineExceeded', reason: 'DEADLINE' });
      await under.run(until(() => probe.aborted === 1));
    });

    it('ends a unary call when its signal aborts, also one aborted before', async () => {
      const client = under.dialer(operator).client(rpc.certificate, target);
      const controller = new AbortController();
      const call = failure(client.rotateToken({}, { signal: controller.signal }));
      await under.run(until(() => probe.calls === 1));
      controller.abort();
      expect(await under.run(call)).toMatchObject({ code: 'Cancelled' });
      expect(await under.run(failure(client.rotateToken({}, { signal: controller.signal })))).toMatchObject({
        code: 'Cancelled',
      });
      expect(probe.calls).toBe(1);
    });

    it('tries an idempotent call again after Unavailable, and no other', async () => {
      const client = under.dialer(operator).client(rpc.certificate, target);
      probe.onList = async (calls) => {
        if (calls <= 2) throw new BerthError('Unavailable', 'not yet', { reason: 'NOT_SYNCED' });
      };
      const answer = await under.run(client.listCertificates({}));
      expect(answer.certificates).toMatchObject([{ serial: '3' }]);
      probe.calls = 0;
      const error = await under.run(failure(client.issueCertificate({ name: 'x' })));
      expect(error).toMatchObject({ code: 'Unavailable', reason: 'NOT_SYNCED' });
      expect(probe.calls).toBe(1);
    });

    it('gives up at the deadline with what the server said last', async () => {
      const client = under.dialer(operator).client(rpc.certificate, target);
      probe.onList = async () => {
        throw new BerthError('Unavailable', 'not yet', { reason: 'NOT_SYNCED' });
      };
      const error = await under.run(failure(client.listCertificates({}, { timeoutMs: 700 })));
      expect(error).toMatchObject({ code: 'Unavailable', reason: 'NOT_SYNCED' });
      expect(probe.calls).toBeGreaterThan(1);
    });

    it('goes to another address when a server dies, also in the middle of a stream', async () => {
      const second = new Probe();
      const { address } = await under.serve(registry, second.services());
      const both: RpcTarget = { identity: registry, addresses: () => [...target.addresses(), address] };
      const logs = under.dialer(scheduler).client(rpc.runtime, both);
      let ended: BerthError | undefined;
      const reading = failure(all(logs.logs({ tail: 1 }))).then((error) => {
        ended = error;
      });
      await under.run(until(() => probe.calls === 1));
      await kill();
      await under.run(reading);
      expect(ended).toMatchObject({ code: 'Unavailable' });
      expect(await under.run(all(logs.logs({ tail: 2 })))).toHaveLength(2);
      expect(second.calls).toBe(1);
      // Not idempotent, but nothing was sent to the dead one.
      const certificates = under.dialer(operator).client(rpc.certificate, both);
      await under.run(certificates.issueCertificate({ name: 'x' }));
      expect(second.calls).toBe(2);
    });

    it('goes to another replica when one says Unavailable', async () => {
      const second = new Probe();
      const { address } = await under.serve(registry, second.services());
      const both: RpcTarget = { identity: registry, addresses: () => [...target.addresses(), address] };
      probe.onList = async () => {
        throw new BerthError('Unavailable', 'not yet', { reason: 'NOT_SYNCED' });
      };
      const client = under.dialer(operator).client(rpc.certificate, both);
      expect(await under.run(client.listCertificates({}))).toMatchObject({ certificates: [{ serial: '1' }] });
      expect([probe.calls, second.calls]).toEqual([1, 1]);
    });

    it('says Unavailable when nobody answers, or no address is known', async () => {
      await kill();
      const client = under.dialer(operator).client(rpc.certificate, target);
      const error = await under.run(failure(client.issueCertificate({}, { timeoutMs: 500 })));
      expect(error).toMatchObject({ code: 'Unavailable' });
      const nowhere = under.dialer(operator).client(rpc.certificate, { identity: registry, addresses: () => [] });
      const none = await under.run(failure(nowhere.issueCertificate({}, { timeoutMs: 500 })));
      expect(none).toMatchObject({ code: 'Unavailable' });
    });

    it('does not talk to a server that is somebody else', async () => {
      const client = under.dialer(operator).client(rpc.certificate, { ...target, identity: scheduler });
      const error = await under.run(failure(client.listCertificates({})));
      expect(error).toMatchObject({ code: 'Unauthenticated', reason: 'TLS_REFUSED' });
      expect(probe.calls).toBe(0);
    });
  });
}

/** Looks at every turn of the event loop: where time is virtual, a whole deadline passes in 5 real ms. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
