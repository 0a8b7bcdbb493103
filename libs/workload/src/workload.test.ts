import { Protocol, RestartCondition, TaskState } from '@berth/contracts/workload';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareStatus,
  effectiveState,
  formatPort,
  isEnded,
  mayFollow,
  ownerOf,
  restartDelay,
  restarts,
  stateName,
  supersedes,
  taskName,
  volumeName,
} from './index.ts';

const states = Object.values(TaskState).filter((state) => state > 0);
const order = fc.record({ run: fc.nat(20), seq: fc.nat(20) });

describe('status order', () => {
  it('is total, and run counts before seq', () => {
    fc.assert(
      fc.property(order, order, order, (a, b, c) => {
        expect(Math.sign(compareStatus(a, b))).toBe(-Math.sign(compareStatus(b, a)) + 0);
        if (compareStatus(a, b) <= 0 && compareStatus(b, c) <= 0) expect(compareStatus(a, c)).toBeLessThanOrEqual(0);
        if (a.run > b.run) expect(compareStatus(a, b)).toBeGreaterThan(0);
      }),
    );
  });

  it('any order of delivery ends with the same status', () => {
    fc.assert(
      fc.property(fc.uniqueArray(order, { minLength: 1, selector: ({ run, seq }) => `${run}/${seq}` }), (reports) => {
        const deliver = (list: typeof reports): (typeof reports)[number] | undefined =>
          list.reduce<(typeof reports)[number] | undefined>(
            (held, next) => (supersedes(next, held) ? next : held),
            undefined,
          );
        expect(deliver(reports)).toEqual(deliver([...reports].reverse()));
        expect(deliver([...reports, ...reports])).toEqual(deliver(reports));
      }),
    );
  });
});

describe('task states', () => {
  it('each has one writer and a name', () => {
    for (const state of states) {
      expect(ownerOf(state)).toBeDefined();
      expect(stateName(state)).not.toBe('unknown');
    }
  });

  it('an ended task does not come back to life', () => {
    for (const from of states.filter(isEnded)) {
      for (const to of states.filter((state) => !isEnded(state))) expect(mayFollow(from, to)).toBe(false);
    }
  });

  it('a run that ended starts again through preparing, never through accepted', () => {
    const { TASK_STATE_RESTARTING: restarting } = TaskState;
    expect(mayFollow(restarting, TaskState.TASK_STATE_STARTING)).toBe(true);
    expect(mayFollow(restarting, TaskState.TASK_STATE_RUNNING)).toBe(true);
    expect(mayFollow(TaskState.TASK_STATE_RUNNING, restarting)).toBe(true);
    expect(mayFollow(restarting, TaskState.TASK_STATE_ACCEPTED)).toBe(false);
    expect(mayFollow(TaskState.TASK_STATE_RUNNING, TaskState.TASK_STATE_STARTING)).toBe(false);
  });

  it('an orphaned task stays orphaned, whatever its node says', () => {
    const status = { state: TaskState.TASK_STATE_RUNNING };
    expect(effectiveState({ state: TaskState.TASK_STATE_ORPHANED }, status)).toBe(TaskState.TASK_STATE_ORPHANED);
    expect(effectiveState({ state: TaskState.TASK_STATE_ASSIGNED }, status)).toBe(TaskState.TASK_STATE_RUNNING);
    expect(effectiveState({ state: TaskState.TASK_STATE_PENDING }, undefined)).toBe(TaskState.TASK_STATE_PENDING);
  });
});

describe('restart policy', () => {
  const policy = (condition: RestartCondition, maxAttempts = 0) => ({
    condition,
    delayMs: 100,
    maxAttempts,
    windowMs: 0,
  });

  it('on-failure leaves a success alone, and gives up after max_attempts failed runs', () => {
    const onFailure = policy(RestartCondition.RESTART_CONDITION_ON_FAILURE, 3);
    expect(restarts(onFailure, 'success', 0)).toBe(false);
    expect(restarts(onFailure, 'failure', 2)).toBe(true);
    expect(restarts(onFailure, 'failure', 3)).toBe(false);
  });

  it('any goes on after a success even where failures are used up; none never goes on; absent means any', () => {
    expect(restarts(policy(RestartCondition.RESTART_CONDITION_ANY, 1), 'success', 1)).toBe(true);
    expect(restarts(policy(RestartCondition.RESTART_CONDITION_NONE), 'failure', 0)).toBe(false);
    expect(restarts(undefined, 'failure', 1000)).toBe(true);
  });

  it('doubles the delay for each failure in a row, up to a minute', () => {
    const any = policy(RestartCondition.RESTART_CONDITION_ANY);
    expect([0, 1, 2, 3, 5, 11, 5000].map((n) => restartDelay(any, n))).toEqual([
      100, 100, 200, 400, 1600, 60_000, 60_000,
    ]);
    expect(restartDelay(undefined, 1)).toBe(5000);
    // What ends at once must not keep its host busy with nothing else.
    expect([1, 2, 3].map((n) => restartDelay({ ...any, delayMs: 0 }, n))).toEqual([100, 200, 400]);
  });
});

it('names tasks, volumes and ports', () => {
  expect(taskName({ service: 'web', slot: 2 }, 'n1')).toBe('web.2');
  expect(taskName({ service: 'web', slot: 0 }, 'n1')).toBe('web.n1');
  const shop = { namespace: 'default', stack: 'shop' };
  expect(volumeName(shop, { name: 'data', externalName: '' })).toBe('shop_data');
  expect(volumeName(shop, { name: 'data', externalName: 'pg' })).toBe('pg');
  expect(volumeName({ ...shop, namespace: 'team' }, { name: 'data', externalName: '' })).toBe('team.shop_data');
  expect(formatPort({ target: 80, published: 8080, protocol: Protocol.PROTOCOL_TCP, hostIp: '::1' })).toBe(
    '[::1]:8080->80/tcp',
  );
});
