import { describe, expect, it } from 'vitest';
import type { Place } from '../fixtures.ts';
import { compose, container, hostsOf, places } from '../fixtures.ts';
import { promiseOf } from '../promise.ts';
import { judgeLeftovers, judgeSame } from './leftovers.ts';
import { judgeNames, parseAnswers, questionScript, questionsOf } from './names.ts';
import type { EngineEvent } from './order.ts';
import { judgeOrder } from './order.ts';
import { judgeUntouched, snapshotOf } from './untouched.ts';

const all = places.map((place) => container(place));
const [web1, web2] = places as [Place, Place];
const others = all.filter(({ labels }) => labels['berth.task'] !== web2.task);

describe('containers that should have been left alone', () => {
  const before = snapshotOf(hostsOf(all));

  it('are the same starts of the same containers', () => {
    expect(judgeUntouched(before, hostsOf(all))).toEqual([]);
    expect(judgeUntouched(before, hostsOf([...all, container({ ...web1, task: 'new' })]))).toEqual([]);
  });

  it.each([
    ['gone', others, 'is gone'],
    ['stopped', [...others, container(web2, { running: false })], 'no longer runs'],
    ['restarted', [...others, container(web2, { startedAt: '2026-01-01T00:00:00.000000002Z' })], 'was restarted'],
    ['restarted by the engine', [...others, container(web2, { restarts: 1 })], 'was restarted'],
    ['replaced', [...others, container(web2, { id: 'another' })], 'is gone'],
  ])('are seen to be %s', (_what, now, expected) => {
    const [violation, ...more] = judgeUntouched(before, hostsOf(now));
    expect([violation?.rule, violation?.what, more]).toEqual(['touched', expect.stringContaining(expected), []]);
  });
});

describe('a host that comes back', () => {
  const event = (action: EngineEvent['action'], task: string, at: number): EngineEvent => ({
    action,
    task,
    container: `${task}-container`,
    at: BigInt(at) * 1_000_000n,
  });
  const judged = (events: readonly EngineEvent[], after: readonly string[] = ['kept', 'new']) =>
    judgeOrder({ host: 'h2', before: ['kept', 'foreign'], after, events }).map(({ what }) => what);

  it('stops first, then starts', () => {
    expect(judged([event('die', 'foreign', 1), event('start', 'new', 2)])).toEqual([]);
    // Its own task may have another run meanwhile.
    const restart = [event('die', 'kept', 0), event('start', 'kept', 0)];
    expect(judged([...restart, event('die', 'foreign', 1), event('start', 'new', 2)])).toEqual([]);
    expect(judged([event('die', 'foreign', 1)], ['kept'])).toEqual([]);
  });

  it('is seen to start first', () => {
    expect(judged([event('start', 'new', 1), event('die', 'foreign', 5)])).toEqual([
      'task foreign ended 4 ms after the new task new had started',
    ]);
    // Something new that is gone again was started all the same.
    expect(judged([event('start', 'short', 1), event('die', 'short', 2), event('die', 'foreign', 3)])).toHaveLength(1);
  });

  it('is not judged by what was not seen', () => {
    expect(judged([event('start', 'new', 1)])).toEqual([expect.stringContaining('its end was not seen')]);
  });
});

describe('names', () => {
  const promised = [promiseOf(compose)];
  const [first] = questionsOf(hostsOf(all), promised);
  const judged = (output: string) => (first ? judgeNames(first, parseAnswers(output)).map(({ what }) => what) : []);
  const right = '# web\n198.19.0.2 STREAM web\n198.19.0.66 STREAM\n# probe\n198.19.0.67 STREAM\n198.19.0.3 STREAM\n';

  it('are asked on each host, and are the addresses of exactly the healthy tasks', () => {
    const questions = questionsOf(hostsOf(all), promised);
    expect(questions.map(({ asker }) => asker.host)).toEqual(['h1', 'h2']);
    expect(first?.expected.get('web')).toEqual(['198.19.0.2', '198.19.0.66']);
    expect(judged(right)).toEqual([]);
  });

  it('of a task that is not healthy are not expected', () => {
    const [question] = questionsOf(hostsOf([...others, container(web2, { health: 'starting' })]), promised);
    expect(question?.expected.get('web')).toEqual(['198.19.0.2']);
  });

  it('on a network that the asker is not on are not expected', () => {
    const elsewhere = container(web2, { addresses: [{ network: 'other', ip: web2.ip }] });
    const [question] = questionsOf(hostsOf([...others, elsewhere]), promised);
    expect(question?.expected.get('web')).toEqual(['198.19.0.2']);
  });

  it('are seen to lack an address, to give a dead one, and not to answer', () => {
    expect(judged(right.replace('198.19.0.66 STREAM\n', ''))).toEqual(['asked on h1: lacks 198.19.0.66']);
    expect(judged(right.replace('198.19.0.66', '198.19.0.99'))).toEqual([
      'asked on h1: lacks 198.19.0.66; gives 198.19.0.99, which no healthy task has',
    ]);
    expect(judged('# web\n# probe\n')).toHaveLength(2);
    expect(judged('')).toHaveLength(2);
  });

  it('are read from busybox’s nslookup as well', () => {
    const output = '# web\nServer:\t127.0.0.11\nAddress:\t127.0.0.11:53\n\nName:\tweb\nAddress: 198.19.0.2\n';
    expect(parseAnswers(output).get('web')).toEqual(['198.19.0.2']);
    expect(questionScript(['web', 'db'])).toContain('ask web');
  });
});

describe('leftovers', () => {
  const before = new Map([['h1', { device: ['lo', 'eth0'], rule: ['0: from all lookup local'] }]]);

  it('are none when the same stands as before', () => {
    expect(judgeLeftovers(before, new Map(before))).toEqual([]);
    expect(judgeSame(before, new Map(before))).toEqual([]);
  });

  it.each([
    ['a device', { device: ['lo', 'eth0', 'bt00000001'], rule: ['0: from all lookup local'] }, 'device: bt00000001'],
    ['a rule once more', { device: ['lo', 'eth0'], rule: Array(2).fill('0: from all lookup local') }, 'rule: 0: from'],
    ['a kind that was not there', { device: ['lo', 'eth0'], volume: ['shop_data'] }, 'volume: shop_data'],
  ])('are seen: %s', (_what, inventory, expected) => {
    const [violation, ...more] = judgeLeftovers(before, new Map([['h1', inventory]]));
    expect([violation?.rule, violation?.what, more]).toEqual(['leftover', expect.stringContaining(expected), []]);
  });

  it('are seen on a host that was not there before', () => {
    expect(judgeLeftovers(before, new Map([['h2', { device: ['lo'] }]]))).toHaveLength(1);
  });

  it('what is gone counts where the same must stand', () => {
    expect(judgeSame(before, new Map([['h1', { device: ['lo'], rule: ['0: from all lookup local'] }]]))).toEqual([
      { rule: 'touched', where: 'h1', what: 'gone: device: eth0' },
    ]);
  });
});
