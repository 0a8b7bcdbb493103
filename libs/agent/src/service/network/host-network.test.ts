import { Lease } from '@berth/contracts/network';
import { BerthError } from '@berth/kernel';
import { MemoryLogger } from '@berth/memory';
import { expect, it } from 'vitest';
import { BlockTable, blockOf } from '../../domain/network/blocks.ts';
import { noFirewall } from '../../domain/network/firewall.ts';
import type { KernelChange } from '../../domain/network/kernel.ts';
import { HostNetwork } from './host-network.ts';

function setUp() {
  const looks: string[] = [];
  const changes: KernelChange[] = [];
  const rules: string[] = [];
  const world = { refuses: false, leases: undefined as Lease[] | undefined };
  const log = new MemoryLogger();
  const network = new HostNetwork({
    clusterId: 'c1',
    host: { address: '198.18.0.11', vxlanPort: 7461 },
    kernel: {
      async read() {
        looks.push('kernel');
        const state = { devices: new Map(), neighbours: new Map(), forwards: new Map(), routes: new Map() };
        return { link: { device: 'eth0', mtu: 1500 }, state };
      },
      async apply(change) {
        changes.push(change);
        if (world.refuses) throw new BerthError('Unavailable', 'Nexthop has invalid gateway');
      },
    },
    firewall: {
      async read() {
        looks.push('firewall');
        return noFirewall;
      },
      apply: async ({ table }) => void rules.push(table),
    },
    nameServer: { addresses: [], listen: async () => {}, close: async () => {} },
    log,
    leasesOf: () => world.leases,
    parts: () => ({ addresses: [], ports: [] }),
  });
  const table = new BlockTable();
  table.addBlock(blockOf({ networkId: 'n', stackId: 's', network: 'n', block: '198.19.0.0/26', internal: false }));
  const lease = (i: number) =>
    Lease.fromPartial({ networkId: 'n', block: `198.19.0.${i * 64}/26`, address: `198.18.0.1${i + 1}` });
  return { looks, changes, rules, world, log, network, table, lease };
}

it('looks at the host once, then programs what differs from what it has programmed, until it is told to doubt', async () => {
  const { looks, changes, rules, world, network, table, lease } = setUp();
  world.leases = [lease(0), lease(1)];
  await network.match(table);
  await network.match(table);
  expect([looks, changes.length, rules]).toEqual([['kernel', 'firewall'], 1, ['create']]);
  world.leases = [lease(0), lease(1), lease(2)];
  await network.match(table);
  expect(looks).toHaveLength(2);
  expect(changes[1]?.ip.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
    'neigh replace 198.18.0.13',
    'route replace 198.19.0.128/26',
  ]);
  network.doubt();
  await network.match(table);
  expect(looks).toHaveLength(4);
});

it('a way that the kernel refuses holds up nobody, is said once and tried again after a look', async () => {
  const { looks, changes, world, log, network, table, lease } = setUp();
  world.leases = [lease(1)];
  world.refuses = true;
  await network.match(table);
  await network.match(table);
  expect([changes.length, looks.length]).toEqual([2, 4]);
  expect(log.lines.filter(({ message }) => message.includes('not all routes'))).toHaveLength(1);
  world.refuses = false;
  await network.match(table);
  await network.match(table);
  expect(changes).toHaveLength(3);
});

it('keeps in mind what it left on the host while peers were not known, and removes it once they are', async () => {
  const { looks, changes, world, network, table, lease } = setUp();
  world.leases = [lease(1), lease(2)];
  await network.match(table);
  world.leases = undefined;
  await network.match(table);
  expect(changes).toHaveLength(1);
  world.leases = [lease(1)];
  await network.match(table);
  expect(changes[1]?.ip.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
    'route del 198.19.0.128/26',
    'neigh del 198.18.0.13',
  ]);
  expect(looks).toHaveLength(2);
});
