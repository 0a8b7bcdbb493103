import { setTimeout as sleep } from 'node:timers/promises';
import { metaKeys } from '@berth/kernel';
import { MemoryLogger, SeededRng } from '@berth/memory';
import type { EtcdServer } from '@berth/testing-hosts';
import { startEtcd } from '@berth/testing-hosts';
import { eventually, realClock, storeContract } from '@berth/testing-suites';
import { afterAll, beforeAll } from 'vitest';
import { connectEtcd } from './etcd-store.ts';

let etcd: EtcdServer;

beforeAll(async () => {
  etcd = await startEtcd();
  const store = connect();
  await store.txn({
    compares: [],
    ops: [{ kind: 'put', key: metaKeys.epoch, value: new TextEncoder().encode('epoch-1') }],
  });
  store.close();
});
afterAll(async () => {
  await etcd.stop();
});

const connect = () =>
  connectEtcd({ endpoints: [etcd.endpoint], clock: realClock, rng: new SeededRng(1), logger: new MemoryLogger() });

storeContract('EtcdStore', async () => {
  const store = connect();
  const other = connect();
  return {
    store,
    other,
    compact: (revision) => store.admin.compact(revision),
    expireLeaseOf: (key) => store.admin.endLeaseOf(key),
    until: (condition) => eventually(condition),
    pass: async (ms) => {
      await sleep(ms);
    },
    close: async () => {
      store.close();
      other.close();
    },
  };
});
