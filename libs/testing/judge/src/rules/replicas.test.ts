import { describe, expect, it } from 'vitest';
import type { Place } from '../fixtures.ts';
import { compose, container, hostsOf, places } from '../fixtures.ts';
import type { ContainerView } from '../observation.ts';
import { promiseOf } from '../promise.ts';
import { judgeReplicas } from './replicas.ts';

const all = places.map((place) => container(place));
const [web1, web2, , probe2] = places as [Place, Place, Place, Place];
const without = (place: Place): ContainerView[] => all.filter(({ labels }) => labels['berth.task'] !== place.task);
const rulesOf = (containers: readonly ContainerView[], over = {}) =>
  judgeReplicas({
    hosts: hostsOf(containers),
    promised: [promiseOf(compose)],
    eligible: ['h1', 'h2'],
    ...over,
  }).map(({ rule, where }) => `${rule} ${where}`);

describe('replicas', () => {
  it('are right when exactly the promised ones run', () => {
    expect(rulesOf(all)).toEqual([]);
    // What has ended and not been cleared away yet is nobody's running task.
    const ended = container({ ...web1, task: 'eeeeeeeeeeee' }, { running: false });
    expect(rulesOf([...all, ended])).toEqual([]);
  });

  it.each<[string, readonly ContainerView[], readonly string[]]>([
    ['one is missing', without(web2), ['missing shop/web']],
    ['one has stopped', [...without(web2), container(web2, { running: false })], ['missing shop/web']],
    ['one is unhealthy', [...without(web2), container(web2, { health: 'unhealthy' })], ['missing shop/web']],
    ['one is not yet healthy', [...without(web2), container(web2, { health: 'starting' })], ['missing shop/web']],
    ['one is too many', [...all, container({ ...web1, slot: 3, task: 'eeeeeeeeeeee' })], ['surplus shop/web']],
    [
      'a slot runs twice, the number being right',
      [...without(web2), container({ ...web2, slot: 1 })],
      ['twice shop/web'],
    ],
    [
      'a task runs twice, on two hosts',
      [...all, container({ ...web1, host: 'h2' })],
      ['surplus shop/web', 'twice shop/web', 'twice h1, h2'],
    ],
    ['a global one is missing on a host', without(probe2), ['missing shop/probe', 'missing shop/probe']],
    [
      'a global one runs twice on one host and not on the other',
      [...without(probe2), container({ ...probe2, host: 'h1' })],
      ['twice shop/probe', 'missing shop/probe'],
    ],
    [
      'a stack nobody asked for runs',
      [...all, container(web1, { labels: { 'berth.task': 'eeee', 'berth.stack': 'old', 'berth.service': 'web' } })],
      ['orphan h1'],
    ],
    [
      'its remains lie about',
      [
        ...all,
        container(web1, {
          running: false,
          labels: { 'berth.task': 'eeee', 'berth.stack': 'old', 'berth.service': 'web' },
        }),
      ],
      ['orphan h1'],
    ],
    ['another image runs', [...without(web2), container(web2, { image: 'busybox:old' })], ['stale shop/web']],
    ['another command runs', [...without(web2), container(web2, { command: ['sh'] })], ['stale shop/web']],
    [
      'an older environment runs',
      [...without(web2), container(web2, { environment: { GREETING: 'bye', COUNT: '3' } })],
      ['stale shop/web'],
    ],
  ])('are not when %s', (_what, containers, expected) => {
    expect(rulesOf(containers)).toEqual(expected);
  });

  it('are not right on a host that takes none', () => {
    expect(rulesOf(all, { eligible: ['h1'] })).toEqual(['orphan shop/web', 'surplus shop/probe', 'orphan shop/probe']);
  });

  it('may be fewer where the test knows that not all can run, and then not more', () => {
    expect(rulesOf(without(web2), { except: { 'shop/web': 1 } })).toEqual([]);
    expect(rulesOf(all, { except: { 'shop/web': 1 } })).toEqual(['surplus shop/web']);
  });

  it('of the control plane are none of these', () => {
    const labels = { 'berth.task': 'static', 'berth.stack': 'berth', 'berth.static': 'true' };
    expect(rulesOf([...all, container(web1, { labels })])).toEqual([]);
  });
});
