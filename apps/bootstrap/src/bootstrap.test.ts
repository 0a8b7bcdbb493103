import { JoinToken } from '@berth/contracts/registry';
import { ClusterSettings } from '@berth/contracts/workload';
import type { Store } from '@berth/kernel';
import { BerthError, isBerthError, metaKeys } from '@berth/kernel';
import { MemoryLogger, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { describe, expect, it } from 'vitest';
import type { BootstrapOptions } from './bootstrap.ts';
import { bootstrap } from './bootstrap.ts';

const settings: ClusterSettings = { networkPool: '10.64.0.0/10', rangePrefix: 22, blockPrefix: 26 };

function world(store: Store = new MemoryStore({ clock: new VirtualClock(), epoch: undefined })) {
  const clock = new VirtualClock();
  const auth = { runs: 0 };
  const options: BootstrapOptions = {
    store,
    enableAuth: async () => {
      auth.runs += 1;
    },
    clock,
    rng: new SeededRng(7),
    logger: new MemoryLogger(),
    clusterId: 'c1',
    settings,
    tokenSha256: 'a'.repeat(64),
    waitLimitMs: 5_000,
  };
  return { store, clock, auth, options };
}

const text = async (store: Store, key: string): Promise<string> =>
  new TextDecoder().decode((await store.get(key)).entry?.value);

describe('bootstrap', () => {
  it('makes an empty store the store of a cluster', async () => {
    const { store, auth, options } = world();
    expect(await bootstrap(options)).toEqual({ fresh: true });
    expect(await text(store, metaKeys.clusterId)).toBe('c1');
    expect(await text(store, metaKeys.epoch)).toMatch(/^[0-9a-z]{20}$/u);
    expect(await text(store, metaKeys.schema)).toBe('1');
    const stored = (await store.get(metaKeys.settings)).entry?.value ?? new Uint8Array();
    expect(ClusterSettings.decode(stored)).toEqual(settings);
    const { entries } = await store.list('registry/token/');
    expect(entries.map(({ key }) => key)).toEqual([`registry/token/${'a'.repeat(64)}`]);
    expect(JoinToken.decode(entries[0]?.value ?? new Uint8Array()).secretSha256).toBe('a'.repeat(64));
    expect(auth.runs).toBe(1);
  });

  it('changes nothing when it runs again, and brings no rotated token back', async () => {
    const { store, auth, options } = world();
    await bootstrap(options);
    await store.txn({ compares: [], ops: [{ kind: 'delete', key: `registry/token/${'a'.repeat(64)}` }] });
    const before = await store.list('');
    const other = { ...options, rng: new SeededRng(8), settings: { ...settings, blockPrefix: 27 } };
    expect(await bootstrap(other)).toEqual({ fresh: false });
    const after = await store.list('');
    expect(after.entries).toEqual(before.entries);
    expect(auth.runs).toBe(2);
  });

  it('refuses the store of another cluster, and one that a newer Berth wrote', async () => {
    const { store, options } = world();
    await bootstrap(options);
    const other = await bootstrap({ ...options, clusterId: 'c2' }).catch((e: unknown) => e);
    expect(isBerthError(other, 'FailedPrecondition', 'OTHER_CLUSTER')).toBe(true);
    const newer = { kind: 'put', key: metaKeys.schema, value: new TextEncoder().encode('2') } as const;
    await store.txn({ compares: [], ops: [newer] });
    const error = await bootstrap(options).catch((e: unknown) => e);
    expect(isBerthError(error, 'FailedPrecondition', 'NEWER_SCHEMA')).toBe(true);
  });

  it('waits for an etcd that does not answer yet, also one that took a write without saying so, but not for ever', async () => {
    const { store, clock, options } = world();
    let failures = 8;
    const flaky = new Proxy(store, {
      get: (target, name, receiver) => {
        const value: unknown = Reflect.get(target, name, receiver);
        if (name !== 'txn') return typeof value === 'function' ? value.bind(target) : value;
        return async (...args: Parameters<Store['txn']>) => {
          failures -= 1;
          if (failures > 0) throw new BerthError('Unavailable', 'no answer');
          const result = await target.txn(...args);
          if (failures === 0) throw new BerthError('Unavailable', 'no answer', { reason: 'OUTCOME_UNKNOWN' });
          return result;
        };
      },
    });
    const running = bootstrap({ ...options, store: flaky });
    await clock.advance(4_000);
    expect(await running).toEqual({ fresh: false });
    expect(await text(store, metaKeys.clusterId)).toBe('c1');
    failures = 1_000;
    const hopeless = bootstrap({ ...options, store: flaky }).catch((e: unknown) => e);
    await clock.advance(6_000);
    expect(isBerthError(await hopeless, 'Unavailable')).toBe(true);
  });
});
