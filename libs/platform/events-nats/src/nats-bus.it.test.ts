import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryLogger, SeededRng } from '@berth/memory';
import type { NatsServer } from '@berth/testing-hosts';
import { startNats } from '@berth/testing-hosts';
import { eventBusContract, eventually, realClock } from '@berth/testing-suites';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { NatsBus, NatsOptions } from './nats-bus.ts';
import { connectNats } from './nats-bus.ts';

let nats: NatsServer;
const toEnd: (() => Promise<void>)[] = [];

beforeAll(async () => {
  nats = await startNats();
});
afterAll(async () => {
  await nats.stop();
});
afterEach(async () => {
  for (const end of toEnd.splice(0).reverse()) await end();
});

function open(server: NatsServer, options: Partial<NatsOptions> = {}): NatsBus {
  const bus = connectNats({
    servers: () => [`${server.address}:${server.port}`],
    clock: realClock,
    rng: new SeededRng(1),
    logger: new MemoryLogger(),
    callTimeoutMs: 2_000,
    ...options,
  });
  toEnd.push(() => bus.close());
  return bus;
}

eventBusContract('NatsBus', async () => {
  const bus = open(nats);
  const other = open(nats);
  return {
    bus,
    other,
    goAway: () => nats.kill(),
    comeBack: () => nats.start(),
    until: (condition) => eventually(condition),
    pass: async (ms) => {
      await sleep(ms);
    },
    close: async () => {
      await bus.close();
      await other.close();
    },
  };
});

test('a server that is not there yet is found when it comes', async () => {
  const late = await startNats();
  toEnd.push(() => late.stop());
  await late.kill();
  const logger = new MemoryLogger();
  const bus = open(late, { logger });
  const got: string[] = [];
  const read = async () => {
    for await (const { subject } of bus.subscribe('a', { signal: new AbortController().signal })) got.push(subject);
  };
  void read();
  await eventually(() => logger.lines.some((line) => line.level === 'warn'));
  expect(bus.connected).toBe(false);
  await late.start();
  await eventually(() => bus.connected);
  const other = open(late);
  await eventually(() => other.connected);
  await sleep(100);
  other.publish('a', new Uint8Array());
  await eventually(() => got.length === 1);
});

test('cut off without a word: noticed within 3 s, back when the wire heals', async () => {
  const isolated = await startNats({ isolated: true });
  toEnd.push(() => isolated.stop());
  const bus = open(isolated);
  await eventually(() => bus.connected);
  await sleep(1_000);
  await isolated.drop();
  const cutAt = performance.now();
  await eventually(() => !bus.connected);
  const noticedMs = performance.now() - cutAt;
  expect(noticedMs).toBeLessThan(3_500);
  await sleep(2_000);
  await isolated.heal();
  const healedAt = performance.now();
  await eventually(() => bus.connected);
  console.log(`noticed after ${noticedMs.toFixed()} ms, back ${(performance.now() - healedAt).toFixed()} ms after`);
});
