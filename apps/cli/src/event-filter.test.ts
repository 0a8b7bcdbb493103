import { Change as NetworkChange } from '@berth/contracts/network';
import { Change as RegistryChange } from '@berth/contracts/registry';
import { Change as SchedulerChange } from '@berth/contracts/scheduler';
import { describe, expect, it } from 'vitest';
import type { AnyChange } from './event-filter.ts';
import { changeKinds, changesOf, EventFilter } from './event-filter.ts';

const stack = (id: string, name: string) =>
  SchedulerChange.fromPartial({
    scopes: [`stack.${id}`],
    key: `stack/${id}`,
    resource: { $case: 'stack', value: { id, name } },
  });
const task = (id: string, stackId: string) =>
  SchedulerChange.fromPartial({ scopes: [`stack.${stackId}`], key: `task/${id}` });
const endpoint = (network: string, id: string, stackId: string) =>
  RegistryChange.fromPartial({
    scopes: [`network.${network}`],
    key: `endpoint/${network}/${id}`,
    resource: { $case: 'endpoint', value: { taskId: id, networkId: network, stackId } },
  });
const lease = (network: string) =>
  NetworkChange.fromPartial({ scopes: [`network.${network}`], key: `lease/${network}/b`, resource: undefined });
const keys = (changes: readonly AnyChange[]) => changes.map(({ key }) => key);

describe('EventFilter', () => {
  it('lets all pass when nothing is asked for', () => {
    const changes = [stack('s1', 'app'), task('t1', 's2'), lease('n1')];
    expect(new EventFilter({ kinds: [] }).select(changes)).toEqual(changes);
  });

  it('keeps kinds apart by the beginning of the key', () => {
    const filter = new EventFilter({ kinds: ['task', 'lease'] });
    expect(keys(filter.select([stack('s1', 'app'), task('t1', 's1'), lease('n1')]))).toEqual(['task/t1', 'lease/n1/b']);
  });

  it('finds a stack that is there by name, with its networks, and leaves others out', () => {
    const filter = new EventFilter({ stack: 'app', kinds: [] }, { stackIds: ['s1'], networkIds: ['n1'] });
    expect(keys(filter.select([task('t1', 's1'), task('t2', 's2'), lease('n1'), lease('n2')]))).toEqual([
      'task/t1',
      'lease/n1/b',
    ]);
  });

  it('learns the ids of a stack that comes later, and keeps them for what is deleted', () => {
    const filter = new EventFilter({ stack: 'app', kinds: [] });
    expect(filter.select([task('t1', 's1'), lease('n1')])).toEqual([]);
    expect(keys(filter.select([task('t1', 's1'), stack('s1', 'app'), stack('s2', 'other')]))).toEqual([
      'task/t1',
      'stack/s1',
    ]);
    expect(keys(filter.select([endpoint('n1', 't1', 's1'), endpoint('n2', 't9', 's2')]))).toEqual(['endpoint/n1/t1']);
    const gone = RegistryChange.fromPartial({ scopes: ['network.n1'], key: 'endpoint/n1/t1' });
    expect(keys(filter.select([gone, lease('n1'), lease('n2')]))).toEqual(['endpoint/n1/t1', 'lease/n1/b']);
  });
});

describe('changesOf', () => {
  it('reads what each owner writes, and passes over an owner from the future', () => {
    const changes = [SchedulerChange.toJSON(stack('s1', 'app'))];
    expect(changesOf({ owner: 'scheduler', changes })).toEqual([stack('s1', 'app')]);
    expect(changesOf({ owner: 'oracle', changes })).toEqual([]);
  });

  it('has a kind for every resource that events can carry', () => {
    const cases = [SchedulerChange, RegistryChange, NetworkChange].flatMap((message) =>
      // The JSON names of a Change's fields beside scopes and key are its resources.
      [...message.fromJSON.toString().matchAll(/object\.(\w+)/gu)].map(([, name]) => name ?? ''),
    );
    // A revocation is in no scope: mirrors alone get it.
    const others = ['scopes', 'key', 'revocation'];
    const resources = [...new Set(cases)].filter((name) => !others.includes(name));
    expect(resources.sort()).toEqual([...changeKinds].sort());
  });
});
