import { eventBusContract } from '@berth/testing-suites';
import { expect, test } from 'vitest';
import { MemoryBroker } from './memory-broker.ts';
import { MemoryBus } from './memory-bus.ts';
import { matches } from './subject-match.ts';
import { settle, VirtualClock } from './virtual-clock.ts';

eventBusContract('MemoryBus', async () => {
  const clock = new VirtualClock();
  const broker = new MemoryBroker({ clock });
  const bus = new MemoryBus(broker);
  const other = new MemoryBus(broker);
  return {
    bus,
    other,
    goAway: async () => broker.setAvailable(false),
    comeBack: async () => broker.setAvailable(true),
    until: async (condition) => {
      while (!(await condition())) await clock.advance(50);
    },
    pass: (ms) => clock.advance(ms),
    close: async () => {
      await bus.close();
      await other.close();
    },
  };
});

test('faults: lost and doubled messages, one client cut off alone, a purged log', async () => {
  const clock = new VirtualClock();
  const broker = new MemoryBroker({ clock });
  const [bus, other] = [new MemoryBus(broker), new MemoryBus(broker)];
  const got: string[] = [];
  const read = async () => {
    for await (const { subject } of other.subscribe('a.>', { signal: new AbortController().signal })) got.push(subject);
  };
  void read();
  broker.copies = ({ subject }) => (subject === 'a.lost' ? 0 : 2);
  for (const subject of ['a.lost', 'a.twice']) bus.publish(subject, new Uint8Array());
  await settle();
  expect(got).toEqual(['a.twice', 'a.twice']);
  other.setConnected(false);
  expect(bus.connected).toBe(true);
  bus.publish('a.unheard', new Uint8Array());
  other.setConnected(true);
  await settle();
  expect(got).toHaveLength(2);
  const log = bus.log('L');
  await log.ensure({ subjects: ['a.>'] });
  await log.append({ subject: 'a.x', messageId: 'm1', data: new Uint8Array(), expectedLastSequence: 0 });
  broker.purge('L');
  expect(await log.last()).toBeUndefined();
  expect(await log.lastSequence()).toBe(1);
});

test('old and large logs lose their oldest events', async () => {
  const clock = new VirtualClock();
  const broker = new MemoryBroker({ clock });
  const log = new MemoryBus(broker).log('L');
  await log.ensure({ subjects: ['a'], maxAgeMs: 1_000, maxBytes: 10 });
  for (let i = 0; i < 3; i++) {
    await log.append({ subject: 'a', messageId: `${i}`, data: new Uint8Array(4), expectedLastSequence: i });
  }
  expect(broker.events('L').map((event) => event.sequence)).toEqual([2, 3]);
  await clock.advance(1_000);
  expect(broker.events('L')).toEqual([]);
  expect(await log.lastSequence()).toBe(3);
});

test.each([
  ['a.b', 'a.b', true],
  ['a.b', 'a.b.c', false],
  ['a.*', 'a.b', true],
  ['a.*', 'a', false],
  ['a.>', 'a.b.c', true],
  ['a.>', 'a', false],
  ['*.b', 'a.c', false],
])('%s matches %s: %s', (pattern, subject, expected) => {
  expect(matches(pattern, subject)).toBe(expected);
});
