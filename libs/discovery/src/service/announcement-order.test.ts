import { AnnounceEndpointsRequest } from '@berth/contracts/registry';
import { MemoryLogger, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import fc from 'fast-check';
import { afterEach, expect, it } from 'vitest';
import { assemble, describeNode, nodeCaller, webEndpoint } from './testing.ts';

const ends: AbortController[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end.abort();
});

async function twoReplicas() {
  const clock = new VirtualClock();
  const store = new MemoryStore({ clock });
  const made = assemble({ clock, store, log: new MemoryLogger(), rng: (seed) => new SeededRng(seed), replicas: 2 });
  ends.push(made.end);
  const { nodeId } = await made.joinNode('k1', describeNode());
  made.scheduler.set('t1', nodeId);
  made.scheduler.set('t2', nodeId);
  await clock.advance(1_000);
  const request = (session: number, sequence: number, ips: Readonly<Record<string, string>>) =>
    AnnounceEndpointsRequest.fromPartial({
      full: true,
      session,
      sequence,
      endpoints: Object.entries(ips).map(([networkId, ip]) => webEndpoint('t1', { networkId, ip })),
    });
  const announce = (replica: number, ...args: Parameters<typeof request>) =>
    made.replicas[replica]!.presence.announceEndpoints(request(...args), nodeCaller(nodeId));
  const shown = () =>
    [...made.registry.view.endpoints.values()].map(({ value }) => `${value.endpoint?.networkId} ${value.endpoint?.ip}`);
  return { ...made, clock, store, nodeId, announce, shown };
}

it('refuses what is older than what stands, and says which session does', async () => {
  const { run, announce, shown } = await twoReplicas();
  await run(announce(0, 7, 2, { n1: '10.64.0.2' }));
  await expect(run(announce(1, 7, 1, { n1: '10.64.0.9' }))).rejects.toMatchObject({
    code: 'FailedPrecondition',
    reason: 'STALE_ANNOUNCEMENT',
    details: { session: '7' },
  });
  await expect(run(announce(1, 6, 99, {}))).rejects.toMatchObject({ reason: 'STALE_ANNOUNCEMENT' });
  expect(shown()).toEqual(['n1 10.64.0.2']);
  // The same again is no harm: a call whose answer was lost is made anew.
  await run(announce(1, 7, 2, { n1: '10.64.0.2' }));
  await run(announce(1, 8, 1, { n1: '10.64.0.3' }));
  expect(shown()).toEqual(['n1 10.64.0.3']);
});

it('an announcement held up at a replica that stood still does not come over a newer one', async () => {
  const { run, announce, shown, store } = await twoReplicas();
  await run(announce(0, 1, 1, { n1: '10.64.0.2' }));
  // Replica 0 has decided, and stops right before it writes.
  const txn = store.txn.bind(store);
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  store.txn = async (request) => {
    store.txn = txn;
    await released;
    return txn(request);
  };
  const late = announce(0, 1, 2, {});
  late.catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  // It says what stands already: only its number is new.
  await run(announce(1, 1, 3, { n1: '10.64.0.2' }));
  release();
  await expect(run(late)).rejects.toMatchObject({ reason: 'STALE_ANNOUNCEMENT' });
  expect(shown()).toEqual(['n1 10.64.0.2']);
});

it('a large one is whole or superseded: the newest stands, however calls mix', async () => {
  const networks = Array.from({ length: 6 }, (_, i) => `n${i}`);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 2, maxLength: 6 }), async (replicas) => {
      const { run, announce, shown, clock } = await twoReplicas();
      const calls = replicas.map((replica, i) =>
        announce(replica, 1, i + 1, Object.fromEntries(networks.map((id) => [id, `10.64.0.${i + 2}`]))).then(
          () => 'done',
          (error: { reason?: string }) => error.reason,
        ),
      );
      const outcomes = await run(Promise.all(calls));
      await clock.advance(1_000);
      expect(outcomes.at(-1)).toBe('done');
      expect(shown().sort()).toEqual(networks.map((id) => `${id} 10.64.0.${replicas.length + 1}`));
    }),
    { numRuns: 30 },
  );
});
