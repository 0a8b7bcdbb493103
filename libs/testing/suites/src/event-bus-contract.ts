import type { BusMessage, EventBus, EventLog } from '@berth/kernel';
import { isBerthError } from '@berth/kernel';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

/** An event bus to test, and the hands of its administrator. */
export interface EventBusUnderTest {
  readonly bus: EventBus;
  /** Another client of the same server. */
  readonly other: EventBus;
  /** Makes the server fall away, and come back with its logs. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  /** Waits, in the server's own time, until the condition holds. */
  until(condition: () => boolean | Promise<boolean>): Promise<void>;
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

/** Reads a subscription into an array. */
function collect(messages: AsyncIterable<BusMessage>): { readonly got: string[]; readonly done: Promise<void> } {
  const got: string[] = [];
  const read = async (): Promise<void> => {
    for await (const message of messages) got.push(`${message.subject}=${text(message.data)}`);
  };
  return { got, done: read() };
}

/** What every EventBus keeps to; both implementations run it. Tests use subjects and logs of their own. */
export function eventBusContract(name: string, make: () => Promise<EventBusUnderTest>): void {
  let count = 0;
  let root = '';
  let logName = '';
  let under: EventBusUnderTest;
  let bus: EventBus;
  let stop: AbortController;

  beforeEach(async () => {
    under = await make();
    bus = under.bus;
    count += 1;
    root = `test.t${count}`;
    logName = `TEST_${count}`;
    stop = new AbortController();
    await under.until(() => bus.connected && under.other.connected);
  });
  afterEach(async () => {
    stop.abort();
    await under.close();
  });

  describe(`${name}: publish and subscribe`, () => {
    test('each subscriber gets what matches its subject, in order', async () => {
      const one = collect(under.other.subscribe(`${root}.a`, { signal: stop.signal }));
      const star = collect(under.other.subscribe(`${root}.*`, { signal: stop.signal }));
      const rest = collect(bus.subscribe(`${root}.>`, { signal: stop.signal }));
      await under.pass(100);
      for (const subject of ['a', 'b', 'a', 'c.d']) bus.publish(`${root}.${subject}`, bytes('x'));
      await under.until(() => rest.got.length === 4 && star.got.length === 3 && one.got.length === 2);
      expect(one.got).toEqual([`${root}.a=x`, `${root}.a=x`]);
      expect(star.got).toEqual([`${root}.a=x`, `${root}.b=x`, `${root}.a=x`]);
      expect(rest.got.at(-1)).toBe(`${root}.c.d=x`);
    });

    test('a subscription ends with its signal', async () => {
      const { got, done } = collect(under.other.subscribe(`${root}.a`, { signal: stop.signal }));
      await under.pass(100);
      stop.abort();
      await done;
      bus.publish(`${root}.a`, bytes('x'));
      await under.pass(100);
      expect(got).toEqual([]);
    });

    test('a slow reader loses the oldest', async () => {
      const messages = under.other.subscribe(`${root}.a`, { signal: stop.signal, pendingMax: 3 });
      const fast = collect(under.other.subscribe(`${root}.a`, { signal: stop.signal }));
      await under.pass(100);
      for (let i = 0; i < 10; i++) bus.publish(`${root}.a`, bytes(`${i}`));
      await under.until(() => fast.got.length === 10);
      const { got } = collect(messages);
      await under.until(() => got.length === 3);
      expect(got).toEqual(['7', '8', '9'].map((each) => `${root}.a=${each}`));
    });

    test('a subscription goes on over a reconnect; what is published meanwhile is lost', async () => {
      const { got } = collect(under.other.subscribe(`${root}.a`, { signal: stop.signal }));
      const seen: boolean[] = [];
      const end = bus.onConnection((connected) => seen.push(connected));
      await under.goAway();
      await under.until(() => !bus.connected && !under.other.connected);
      bus.publish(`${root}.a`, bytes('lost'));
      await under.comeBack();
      await under.until(() => bus.connected && under.other.connected);
      await under.pass(200);
      bus.publish(`${root}.a`, bytes('kept'));
      await under.until(() => got.length > 0);
      expect(got).toEqual([`${root}.a=kept`]);
      expect(seen).toEqual([false, true]);
      end();
    });
  });

  describe(`${name}: log`, () => {
    const open = async (
      options: { readonly duplicateWindowMs?: number; readonly maxBytes?: number } = {},
    ): Promise<EventLog> => {
      const log = bus.log(logName);
      await log.ensure({ maxBytes: 2 ** 20, ...options, subjects: [`${root}.log.>`] });
      return log;
    };
    const append = (log: EventLog, expectedLastSequence: number, messageId = `m${expectedLastSequence + 1}`) =>
      log.append({ subject: `${root}.log.x`, messageId, data: bytes(messageId), expectedLastSequence });
    const deposed = (error: unknown): boolean => isBerthError(error, 'Conflict', 'DEPOSED');

    test('an empty log has no last event, and begins with sequence 1', async () => {
      const log = await open();
      expect(await log.last()).toBeUndefined();
      expect(await log.lastSequence()).toBe(0);
      expect(await append(log, 0)).toEqual({ sequence: 1 });
      expect(await append(log, 1)).toEqual({ sequence: 2 });
      const last = await under.other.log(logName).last();
      expect(last).toMatchObject({ subject: `${root}.log.x`, sequence: 2, messageId: 'm2' });
      expect(text(last?.data ?? bytes(''))).toBe('m2');
      expect(await log.lastSequence()).toBe(2);
    });

    test('who expects another end is deposed, and nothing is recorded', async () => {
      const log = await open();
      const mine = under.other.log(logName);
      await append(log, 0);
      await append(mine, 1, 'from the other');
      await expect(append(log, 1, 'too late')).rejects.toSatisfy(deposed);
      await expect(append(log, 7, 'too early')).rejects.toSatisfy(deposed);
      expect(await log.last()).toMatchObject({ sequence: 2, messageId: 'from the other' });
    });

    test('a message id is recorded once within the window, whatever sequence is expected', async () => {
      const log = await open({ duplicateWindowMs: 1_000 });
      await append(log, 0, 'm');
      await expect(append(log, 0, 'm')).rejects.toSatisfy(deposed);
      await expect(append(log, 1, 'm')).rejects.toSatisfy(deposed);
      expect(await log.lastSequence()).toBe(1);
      await under.pass(2_500);
      expect(await append(log, 1, 'm')).toEqual({ sequence: 2 });
    });

    test('subscribers get what is appended', async () => {
      const log = await open();
      const { got } = collect(under.other.subscribe(`${root}.log.>`, { signal: stop.signal }));
      await under.pass(100);
      await append(log, 0);
      await under.until(() => got.length === 1);
      expect(got).toEqual([`${root}.log.x=m1`]);
    });

    test('ensure keeps what is there, and changes the limits', async () => {
      const log = await open();
      await append(log, 0);
      await log.ensure({ subjects: [`${root}.log.>`, `${root}.more.>`], maxBytes: 2 ** 21 });
      expect(await log.lastSequence()).toBe(1);
      await log.append({ subject: `${root}.more.x`, messageId: 'm2', data: bytes('2'), expectedLastSequence: 1 });
    });

    test('it survives a restart of the server; without one, calls are unavailable', async () => {
      const log = await open();
      await append(log, 0);
      await under.goAway();
      await under.until(() => !bus.connected);
      await expect(append(log, 1)).rejects.toSatisfy((error) => isBerthError(error, 'Unavailable'));
      await under.comeBack();
      await under.until(() => bus.connected);
      await under.until(async () => {
        try {
          return (await log.lastSequence()) === 1;
        } catch (error) {
          if (isBerthError(error, 'Unavailable')) return false;
          throw error;
        }
      });
      expect(await append(log, 1)).toEqual({ sequence: 2 });
    });

    test('a log that nobody made is not found', async () => {
      const missing = (error: unknown): boolean => isBerthError(error, 'NotFound', 'NO_LOG');
      await expect(bus.log('TEST_NONE').last()).rejects.toSatisfy(missing);
      await expect(bus.log('TEST_NONE').lastSequence()).rejects.toSatisfy(missing);
    });
  });
}
