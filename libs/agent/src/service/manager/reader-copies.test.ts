import { BerthError } from '@berth/kernel';
import { MemoryLogger, SeededRng, VirtualClock } from '@berth/memory';
import { expect, it } from 'vitest';
import { keepReaderCopies } from './reader-copies.ts';

it('copies of the logs are made with every connection, again until it works', async () => {
  const clock = new VirtualClock();
  const made: string[] = [];
  let listener: (connected: boolean) => void = () => {};
  let refusals = 2;
  const bus = {
    connected: false,
    onConnection: (each: (connected: boolean) => void) => {
      listener = each;
      return () => {};
    },
    log: (name: string) => ({
      ensureCopy: async ({ stream }: { stream: string }) => {
        if (refusals-- > 0) throw new BerthError('Unavailable', 'not yet');
        made.push(`${name} of ${stream}`);
      },
    }),
  };
  const abort = new AbortController();
  const ports = { clock, rng: new SeededRng(1), log: new MemoryLogger() };
  const running = keepReaderCopies({ bus, ...ports }, abort.signal);
  await clock.advance(10_000);
  expect(made).toEqual([]);
  listener(true);
  await clock.advance(10_000);
  const all = ['BERTH_REGISTRY of LOG_REGISTRY', 'BERTH_SCHEDULER of LOG_SCHEDULER', 'BERTH_NETWORK of LOG_NETWORK'];
  expect(made).toEqual(all);
  listener(false);
  await clock.advance(10_000);
  expect(made).toEqual(all);
  listener(true);
  await clock.advance(1_000);
  expect(made).toEqual([...all, ...all]);
  abort.abort();
  await running;
});
