import type { Change } from '@berth/contracts/network';
import { Lease, Network } from '@berth/contracts/network';
import type { Disk } from '@berth/kernel';
import { MemoryLogger, VirtualClock } from '@berth/memory';
import { expect, it } from 'vitest';
import { PeerCache } from './peer-cache.ts';

const at = (revision: number) => ({ epoch: 'e', revision });
const lease = (block: string, address = '198.18.0.12'): Change => ({
  scopes: ['network.n'],
  key: `lease/n/${block}`,
  resource: { $case: 'lease', value: Lease.fromPartial({ networkId: 'n', block, address }) },
});
const gone = (block: string): Change => ({ scopes: ['network.n'], key: `lease/n/${block}`, resource: undefined });
const network: Change = {
  scopes: ['network.n'],
  key: 'network/n',
  resource: { $case: 'network', value: Network.fromPartial({ id: 'n' }) },
};

function setUp() {
  const files = new Map<string, Uint8Array>();
  const disk: Disk = {
    read: async (name) => files.get(name),
    write: async (name, data) => void files.set(name, data),
    remove: async (name) => void files.delete(name),
    list: async (folder) =>
      [...files.keys()].filter((n) => n.startsWith(`${folder}/`)).map((n) => n.slice(folder.length + 1)),
  };
  const clock = new VirtualClock();
  const log = new MemoryLogger();
  let changes = 0;
  const make = () =>
    new PeerCache({
      disk,
      clock,
      log,
      onChange: () => {
        changes += 1;
      },
    });
  const blocks = (cache: PeerCache) => {
    const leases = cache.leasesOf('n');
    return leases && [...leases].map(({ block }) => block).sort();
  };
  return { files, clock, log, make, blocks, changes: () => changes };
}

it('follows leases in their order, and an agent that restarts knows them with no control plane', async () => {
  const { files, clock, make, blocks, changes } = setUp();
  const cache = make();
  const end = new AbortController();
  const running = cache.run(end.signal);
  expect(blocks(cache)).toBeUndefined();
  cache.apply('n', { kind: 'reset', revision: at(5), changes: [network, lease('a/26'), lease('b/26')] });
  cache.apply('n', { kind: 'changes', revision: at(6), changes: [network] });
  expect(changes()).toBe(1);
  // One answer may hold several changes of one block.
  const several = [lease('c/26'), gone('c/26'), gone('a/26'), lease('a/26', '198.18.0.13'), gone('b/26')];
  cache.apply('n', { kind: 'changes', revision: at(9), changes: several });
  expect([blocks(cache), changes()]).toEqual([['a/26'], 2]);
  await clock.advance(1_000);
  const restarted = make();
  await restarted.load();
  expect([blocks(restarted), restarted.revisionOf('n')]).toEqual([['a/26'], at(9)]);
  expect([...(restarted.leasesOf('n') ?? [])][0]?.address).toBe('198.18.0.13');
  cache.keep(new Set());
  await clock.advance(1_000);
  expect([blocks(cache), files.size]).toEqual([undefined, 0]);
  end.abort();
  await clock.advance(1_000);
  await running;
});

it('a damaged copy is as good as none: what is not known is not taken for empty', async () => {
  const { files, clock, log, make, blocks } = setUp();
  const cache = make();
  const end = new AbortController();
  void cache.run(end.signal);
  cache.apply('n', { kind: 'reset', revision: at(5), changes: [lease('a/26')] });
  await clock.advance(1_000);
  end.abort();
  for (const [name, data] of files) files.set(name, data.with(data.length - 1, (data.at(-1) ?? 0) ^ 1));
  const restarted = make();
  await restarted.load();
  expect(blocks(restarted)).toBeUndefined();
  expect(log.lines.some(({ message }) => message.includes('damaged'))).toBe(true);
});
