import type { Stack } from '@berth/contracts/scheduler';
import { SpecRecord, StackRecord } from '@berth/contracts/scheduler';
import type { StackSpec } from '@berth/contracts/workload';
import { Task } from '@berth/contracts/workload';
import type { Host } from '@berth/testing-hosts';
import type { StoreView } from './observation.ts';

/** Where etcd is, and with which folder of certificates the judge is let in as its root. */
export interface StorePlace {
  readonly manager: Host;
  /** Of the manager's agent. */
  readonly stateDir: string;
  /** Default 7441. */
  readonly port?: number;
}

export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
}

/** Reads all of etcd at one revision, as root, from the manager itself. */
export async function readEntries({ manager, stateDir, port = 7441 }: StorePlace): Promise<Entry[]> {
  const certs = `${stateDir}/certs/etcd-client-bootstrap`;
  const out = await manager.exec(
    [
      ...['etcdctl', '--endpoints', `https://${manager.address}:${port}`, '--write-out', 'json'],
      ...['--command-timeout', '5s', '--cacert', `${certs}/ca.pem`, '--cert', `${certs}/cert.pem`],
      ...['--key', `${certs}/key.pem`, 'get', '--prefix', ''],
    ],
    { env: { ETCDCTL_API: '3' } },
  );
  const { kvs = [] } = JSON.parse(out) as { kvs?: { key: string; value?: string }[] };
  return kvs.map(({ key, value = '' }) => ({
    key: Buffer.from(key, 'base64').toString('utf8'),
    value: Buffer.from(value, 'base64'),
  }));
}

export function storeOf(entries: readonly Entry[]): StoreView {
  const stacks: Stack[] = [];
  const specs = new Map<string, StackSpec>();
  const tasks: Task[] = [];
  for (const { key, value } of entries) {
    if (key.startsWith('scheduler/stack/')) {
      const { stack } = StackRecord.decode(value);
      if (stack) stacks.push(stack);
    } else if (key.startsWith('scheduler/spec/')) {
      const { stackId, spec } = SpecRecord.decode(value);
      if (spec) specs.set(stackId, spec);
    } else if (key.startsWith('scheduler/task/')) {
      tasks.push(Task.decode(value));
    }
  }
  return { keys: entries.map(({ key }) => key), stacks, specs, tasks };
}

/** Keys that speak of processes and connections, and come and go without any stack. */
const volatile = /^(?:[a-z]+\/leader|registry\/(?:presence|replica|member|status)\/|[a-z]+\/head\/node)/u;

/** Keys that must be the same once what was deployed has been taken back. */
export function lastingKeys({ keys }: StoreView): string[] {
  return keys.filter((key) => !volatile.test(key)).sort();
}
