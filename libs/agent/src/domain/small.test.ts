import type { Endpoint } from '@berth/contracts/registry';
import { Endpoint as Endpoints } from '@berth/contracts/registry';
import { RestartCondition } from '@berth/contracts/workload';
import type { ContainerState } from '@berth/kernel';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { announcement, endpointKey } from './announcement.ts';
import { ContainerTable } from './container-table.ts';
import { joinsOf, label, taskOf } from './labels.ts';
import { overlappingRoute } from './pool.ts';
import { afterRun } from './restart.ts';
import { seal, unseal } from './sealed.ts';

describe('sealed files', () => {
  it('come back as they were, and any damage is noticed', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.nat(), fc.integer({ min: 1, max: 255 }), (payload, at, flip) => {
        const sealed = seal(payload);
        expect(unseal(sealed)).toEqual(payload);
        const damaged = sealed.slice();
        damaged[at % damaged.length]! ^= flip;
        expect(unseal(damaged)).toBeUndefined();
        expect(unseal(sealed.subarray(0, at % sealed.length))).toBeUndefined();
      }),
    );
  });
});

describe('runs that end well at once', () => {
  const delays = (delayMs: number, lastedMs: number): number[] => {
    const policy = { condition: RestartCondition.RESTART_CONDITION_ANY, delayMs, maxAttempts: 0, windowMs: 0 };
    const found: number[] = [];
    for (let failuresInRow = 0; found.length < 8; ) {
      const history = { earlierFailedRuns: 0, failedRuns: 0, failuresInRow };
      const verdict = afterRun(policy, { failed: false, lastedMs }, history);
      if (verdict.kind !== 'restart') throw new Error(verdict.kind);
      found.push(verdict.delayMs);
      failuresInRow = verdict.failuresInRow;
    }
    return found;
  };

  it('come again after growing waits, as Docker does; not so those that lasted, or wait long anyway', () => {
    expect(delays(100, 50)).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    expect(new Set(delays(100, 20_000))).toEqual(new Set([100]));
    expect(new Set(delays(30_000, 50))).toEqual(new Set([30_000]));
  });
});

describe('the address pool', () => {
  it.each([
    ['10.64.0.0/10', ['0.0.0.0/0', '172.17.0.0/16', '10.128.0.0/9'], undefined],
    ['10.64.0.0/10', ['10.0.0.0/8'], '10.0.0.0/8'],
    ['10.64.0.0/10', ['192.168.0.0/16', '10.100.1.0/24'], '10.100.1.0/24'],
    ['10.64.0.0/10', ['10.127.255.255/32'], '10.127.255.255/32'],
  ])('%s beside %j', (pool, routes, overlap) => {
    expect(overlappingRoute(pool, routes)).toBe(overlap);
  });
});

describe('labels', () => {
  it('say task and run, or nothing', () => {
    expect(taskOf({ labels: { [label.task]: 'a', [label.run]: '2' } })).toEqual({ taskId: 'a', run: 2 });
    for (const run of ['', '0', '1.5', 'x'])
      expect(taskOf({ labels: { [label.task]: 'a', [label.run]: run } })).toBeUndefined();
  });

  it('hold joins; a damaged label holds none', () => {
    const joins = [{ networkId: 'n', network: 'default', dockerNetwork: 'berth-n', ip: '10.64.0.2' }];
    expect(joinsOf({ labels: { [label.joins]: JSON.stringify(joins) } })).toEqual(joins);
    for (const text of ['', '{', '{}', '[{"ip":1}]']) expect(joinsOf({ labels: { [label.joins]: text } })).toEqual([]);
  });
});

describe('an announcement', () => {
  const endpoint = fc.record({
    taskId: fc.constantFrom('a', 'b', 'c'),
    networkId: fc.constantFrom('m', 'n'),
    healthy: fc.boolean(),
  });
  const all = fc.array(endpoint).map((list) => new Map(list.map((e) => [endpointKey(e), Endpoints.fromPartial(e)])));

  it('brings one set to the other, and says nothing when they are equal', () => {
    fc.assert(
      fc.property(all, all, (before, after) => {
        const request = announcement(before, after);
        const result = new Map<string, Endpoint>(before);
        for (const key of request?.withdrawn ?? []) result.delete(endpointKey(key));
        for (const e of request?.endpoints ?? []) result.set(endpointKey(e), e);
        expect(new Map([...result].sort())).toEqual(new Map([...after].sort()));
        expect(announcement(after, after)).toBeUndefined();
      }),
    );
  });
});

describe('what was last seen of containers', () => {
  const state = (id: string, taskId: string): ContainerState => ({
    id,
    name: id,
    labels: { [label.task]: taskId, [label.run]: '1' },
    phase: { kind: 'created' },
    health: 'none',
    healthOutput: '',
    ports: [],
  });

  it('an older look never overrides a newer one', () => {
    const table = new ContainerTable();
    const list = table.ticket();
    const look = table.ticket();
    table.see(look, 'new', state('new', 'a'));
    table.see(table.ticket(), 'gone', undefined);
    table.seeAll(list, [state('gone', 'b')]);
    expect([...table.byTask().keys()]).toEqual(['a']);
    table.seeAll(table.ticket(), []);
    expect([...table.byTask().keys()]).toEqual([]);
  });
});
