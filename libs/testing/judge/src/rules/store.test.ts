import { Stack } from '@berth/contracts/scheduler';
import { DesiredState } from '@berth/contracts/workload';
import { describe, expect, it } from 'vitest';
import type { Place } from '../fixtures.ts';
import { compose, container, hostsOf, places, spec, store, task } from '../fixtures.ts';
import type { StoreView } from '../observation.ts';
import { promiseOf } from '../promise.ts';
import { judgeStore } from './store.ts';

const hosts = hostsOf(places.map((place) => container(place)));
const [web1, web2] = places as [Place, Place];
const judged = (view: StoreView, promised = [promiseOf(compose)]) =>
  judgeStore(view, promised, hosts).map(({ rule, where, what }) => `${rule} ${where}: ${what}`);
const withTasks = (...more: readonly Place[]) => [...places, ...more].map((place) => task(place));
const withSpec = (change: (web: ReturnType<typeof spec>['services'][number]) => void): StoreView => {
  const changed = spec();
  for (const service of changed.services.slice(0, 1)) change(service);
  return store({ specs: new Map([['s1', changed]]) });
};

describe('the store', () => {
  it('is right when it holds what was acknowledged', () => {
    expect(judged(store())).toEqual([]);
  });

  it.each<[string, StoreView, string]>([
    ['a stack is lost', store({ stacks: [] }), 'spec shop: acknowledged, but not in the store'],
    ['a spec is lost', store({ specs: new Map() }), 'spec shop: its record is in the store, its spec is not'],
    [
      'a stack is being removed',
      store({ stacks: [Stack.fromPartial({ id: 's1', name: 'shop', removing: true })] }),
      'spec shop: is being removed, which nobody asked for',
    ],
    [
      'a service is lost',
      store({ specs: new Map([['s1', spec({ services: spec().services.slice(0, 1) })]]) }),
      'spec shop: service probe is not in the stored spec',
    ],
    [
      'an older number is stored',
      withSpec((web) => {
        web.mode = { $case: 'replicated', value: { replicas: 1 } };
      }),
      'spec shop: service web: 1 stored, 2 acknowledged',
    ],
    [
      'an older image is stored',
      withSpec((web) => {
        if (web.container) web.container.image = 'busybox:old';
      }),
      'spec shop: service web: image busybox:old stored, busybox:latest acknowledged',
    ],
    [
      'an older environment is stored',
      withSpec((web) => {
        if (web.container) web.container.environment = { GREETING: 'bye', COUNT: '3' };
      }),
      'spec shop: service web: environment GREETING=bye stored, hello acknowledged',
    ],
    [
      'an older command is stored',
      withSpec((web) => {
        if (web.container?.command) web.container.command = { values: ['sh'] };
      }),
      'spec shop: service web: command sh stored, sh-cecho$HOME acknowledged',
    ],
    [
      'two tasks of a slot are to run',
      store({ tasks: withTasks({ ...web1, task: 'eeeeeeeeeeee' }) }),
      'twice shop/web slot 1: 2 tasks are to run by the store: aaaaaaaa, eeeeeeee',
    ],
    [
      'it knows nothing of what runs',
      store({ tasks: places.slice(1).map((place) => task(place)) }),
      'runs, and the store knows no such task',
    ],
    [
      'it wants stopped what runs',
      store({
        tasks: places.map((place, i) => task(place, i === 0 ? { desired: DesiredState.DESIRED_STATE_SHUTDOWN } : {})),
      }),
      'runs, and the store wants it stopped',
    ],
    [
      'it has elsewhere what runs here',
      store({ tasks: places.map((place, i) => task(place, i === 0 ? { nodeId: 'node-h2' } : {})) }),
      'runs, and the store has it on another node',
    ],
    [
      'two containers that run are of one slot',
      store({ tasks: places.map((place) => task(place.task === web2.task ? { ...web2, slot: 1 } : place)) }),
      'twice shop/web slot 1: by labels',
    ],
  ])('is not when %s', (_what, view, expected) => {
    expect(judged(view).join('\n')).toContain(expected);
  });

  it('holds nothing that was taken back', () => {
    expect(judged(store(), [])).toEqual(['spec shop: is in the store, and nobody asked for it']);
    const removing = store({ stacks: [Stack.fromPartial({ id: 's1', name: 'shop', removing: true })] });
    expect(judged(removing, [])).toEqual(['spec shop: its removal has not ended']);
  });
});
