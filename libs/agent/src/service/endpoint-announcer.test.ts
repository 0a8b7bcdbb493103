import type { AnnounceEndpointsRequest } from '@berth/contracts/registry';
import { Endpoint } from '@berth/contracts/registry';
import { BerthError } from '@berth/kernel';
import { MemoryLogger, SeededRng, VirtualClock } from '@berth/memory';
import { expect, it } from 'vitest';
import { EndpointAnnouncer } from './endpoint-announcer.ts';

it('numbers what it announces, and goes on above a session that stands where its clock went back', async () => {
  const clock = new VirtualClock();
  const stands = clock.wall() + 1_000_000;
  const taken: AnnounceEndpointsRequest[] = [];
  const announceEndpoints = async (request: AnnounceEndpointsRequest) => {
    if (request.session <= stands && taken.length === 0) {
      throw new BerthError('FailedPrecondition', 'a newer one stands', {
        reason: 'STALE_ANNOUNCEMENT',
        details: { session: String(stands) },
      });
    }
    taken.push(request);
    return { revision: undefined };
  };
  const announcer = new EndpointAnnouncer({
    client: { announceEndpoints } as never,
    synced: () => true,
    clock,
    rng: new SeededRng(1),
    log: new MemoryLogger(),
  });
  const abort = new AbortController();
  const running = announcer.run(abort.signal);
  announcer.set([Endpoint.fromPartial({ taskId: 't1', networkId: 'n1' })]);
  await clock.advance(5_000);
  announcer.set([]);
  await clock.advance(1_000);
  announcer.reconnected();
  await clock.advance(1_000);
  expect(taken.map(({ full, session }) => [full, session])).toEqual([
    [true, stands + 1],
    [false, stands + 1],
    [true, stands + 1],
  ]);
  const sequences = taken.map(({ sequence }) => sequence);
  expect(sequences).toEqual([...sequences].sort((a, b) => a - b));
  expect(new Set(sequences).size).toBe(3);
  abort.abort();
  await running;
});

it('a call that failed may have been carried out: what came back meanwhile is announced all the same', async () => {
  const clock = new VirtualClock();
  const held = new Map<string, boolean>();
  let answers = true;
  const announceEndpoints = async ({ full, endpoints, withdrawn }: AnnounceEndpointsRequest) => {
    if (full) held.clear();
    for (const { taskId, healthy } of endpoints) held.set(taskId, healthy);
    for (const { taskId } of withdrawn) held.delete(taskId);
    if (!answers) throw new BerthError('DeadlineExceeded', 'no answer in time', { reason: 'DEADLINE' });
    return { revision: undefined };
  };
  const announcer = new EndpointAnnouncer({
    client: { announceEndpoints } as never,
    synced: () => true,
    clock,
    rng: new SeededRng(1),
    log: new MemoryLogger(),
  });
  const abort = new AbortController();
  const running = announcer.run(abort.signal);
  const say = async (healthy: boolean) => {
    announcer.set([Endpoint.fromPartial({ taskId: 't1', networkId: 'n1', healthy })]);
    await clock.advance(50);
  };
  await say(true);
  answers = false;
  await say(false);
  expect(held).toEqual(new Map([['t1', false]]));
  answers = true;
  await say(true);
  await clock.advance(5_000);
  expect(held).toEqual(new Map([['t1', true]]));
  abort.abort();
  await running;
});
