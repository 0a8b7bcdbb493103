import type { Change } from '@berth/contracts/registry';
import { Endpoint } from '@berth/contracts/registry';
import type { Disk } from '@berth/kernel';
import { describe, expect, it } from 'vitest';
import { DnsTable } from '../../domain/dns/dns-table.ts';
import { EndpointCache } from './endpoint-cache.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const clock = {
  monotonic: () => 0,
  wall: () => 0,
  sleep: () => new Promise<void>((resolve) => setImmediate(resolve)),
  timer: () => () => undefined,
};
const memoryDisk = () => {
  const files = new Map<string, Uint8Array>();
  const disk: Disk = {
    read: async (name) => files.get(name),
    write: async (name, data) => void files.set(name, data),
    remove: async (name) => void files.delete(name),
    list: async (folder) =>
      [...files.keys()].filter((n) => n.startsWith(`${folder}/`)).map((n) => n.slice(folder.length + 1)),
  };
  return { files, disk };
};
const put = (task: string, healthy = true): Change => ({
  scopes: ['network.n'],
  key: `endpoint/n/${task}`,
  resource: {
    $case: 'endpoint',
    value: Endpoint.fromPartial({
      taskId: task,
      networkId: 'n',
      names: ['web'],
      taskName: `web.${task}`,
      ip: `198.19.0.${task}`,
      healthy,
    }),
  },
});
const at = (revision: number) => ({ epoch: 'e', revision });
const ips = (dns: DnsTable) => {
  const found = dns.lookup(['n'], 'web');
  return found.kind === 'known' ? [...found.ips] : found.kind;
};

describe('EndpointCache', () => {
  it('follows changes, and an agent that restarts answers the same at once', async () => {
    const { disk, files } = memoryDisk();
    const dns = new DnsTable();
    const cache = new EndpointCache({ dns, disk, clock, log: quiet });
    const end = new AbortController();
    const running = cache.run(end.signal);
    cache.apply('n', { kind: 'reset', revision: at(5), changes: [put('1'), put('2')] });
    cache.apply('n', { kind: 'changes', revision: at(6), changes: [put('2', false), put('3')] });
    cache.apply('n', {
      kind: 'changes',
      revision: at(7),
      changes: [{ scopes: [], key: 'endpoint/n/1', resource: undefined }],
    });
    expect(ips(dns)).toEqual(['198.19.0.3']);
    await expect.poll(() => files.size).toBe(1);

    const later = new DnsTable();
    const again = new EndpointCache({ dns: later, disk, clock, log: quiet });
    await again.load();
    expect(ips(later)).toEqual(['198.19.0.3']);
    expect(again.revisionOf('n')).toEqual(at(7));

    cache.keep(new Set());
    expect(ips(dns)).toBe('unknown');
    await expect.poll(() => files.size).toBe(0);
    end.abort();
    await running;
  });

  it('leaves a damaged copy out', async () => {
    const { disk, files } = memoryDisk();
    files.set('cache/endpoints/n', new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8, 9]));
    const cache = new EndpointCache({ dns: new DnsTable(), disk, clock, log: quiet });
    await cache.load();
    expect(cache.revisionOf('n')).toBeUndefined();
  });
});
