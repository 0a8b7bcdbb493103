import type { LeaseBlockRequest, ReleaseBlockRequest } from '@berth/contracts/network';
import { LeaseBlockResponse } from '@berth/contracts/network';
import { BerthError } from '@berth/kernel';
import { MemoryLogger, VirtualClock } from '@berth/memory';
import { expect, it } from 'vitest';
import { DnsTable } from '../../domain/dns/dns-table.ts';
import { noFirewall } from '../../domain/network/firewall.ts';
import type { EngineNetwork, EngineNetworkSpec } from '../../domain/task-network.ts';
import { BridgeTaskNetwork } from './bridge-task-network.ts';
import { HostNetwork } from './host-network.ts';

const signal = new AbortController().signal;
const noKernel = { devices: new Map(), neighbours: new Map(), forwards: new Map(), routes: new Map() };

/** A host with an engine, and a network-manager with blocks for everyone. */
function setUp() {
  const clock = new VirtualClock();
  const engine = new Map<string, EngineNetworkSpec>();
  /** Engine networks that a container of somebody else is connected to. */
  const foreign = new Set<string>();
  const leased: string[] = [];
  /** True: the network-manager is away. */
  const manager = { away: false };
  const listening = new Set<string>();
  const address = { address: '198.18.0.11', vxlanPort: 7461 };
  const nameServer = {
    get addresses() {
      return [...listening];
    },
    listen: async (ip: string) => void listening.add(ip),
    close: async (ip: string) => void listening.delete(ip),
  };
  const network = new BridgeTaskNetwork({
    clock,
    log: new MemoryLogger(),
    dns: new DnsTable(),
    onNetworks: () => {},
    client: {
      async leaseBlock(request) {
        if (manager.away) {
          await clock.sleep(3_000);
          throw new BerthError('Unavailable', 'nobody answers');
        }
        const { stackId = '', network: name = '' } = request as LeaseBlockRequest;
        const block = `10.64.${leased.length}.0/26`;
        leased.push(block);
        const id = `${stackId}${name}`;
        return LeaseBlockResponse.fromPartial({ network: { id, stackId, name }, lease: { networkId: id, block } });
      },
      async releaseBlock(request) {
        leased.splice(leased.indexOf((request as ReleaseBlockRequest).block), 1, '');
        return {};
      },
      async listLeases() {
        return { leases: [], networks: [], revision: undefined };
      },
    },
    engine: {
      list: async () => [...engine.values()].map((spec): EngineNetwork => ({ ...spec, id: spec.name, containers: [] })),
      create: async (spec) => void engine.set(spec.name, spec),
      async remove(name) {
        if (foreign.has(name)) throw new BerthError('Conflict', `${name} is in use`, { reason: 'NETWORK_IN_USE' });
        engine.delete(name);
      },
    },
    host: new HostNetwork({
      clusterId: 'c1',
      host: address,
      kernel: {
        read: async () => ({ link: undefined, state: noKernel }),
        apply: async () => {},
      },
      // What is asked for is not remembered: the diff has tests of its own.
      firewall: { read: async () => noFirewall, apply: async () => {} },
      nameServer,
      log: new MemoryLogger(),
      leasesOf: () => [],
      parts: () => ({ addresses: [], ports: [] }),
    }),
    address,
    nameServer,
  });
  const prepare = (taskId: string, stackId: string) =>
    network.prepare(
      {
        taskId,
        stackId,
        attachments: [
          { network: 'default', spec: { name: 'default', driverOpts: {}, internal: false, externalName: '' } },
        ],
      },
      signal,
    );
  return { clock, engine, foreign, leased, listening, manager, network, prepare };
}

it('a task gets bridge, address and name server; with the last task all of it goes, and the block is handed back', async () => {
  const { clock, engine, leased, listening, network, prepare } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await network.adopt([]);
  const first = await prepare('t1', 's1');
  const second = await prepare('t2', 's1');
  expect(await prepare('t1', 's1')).toEqual(first);
  expect(second.joins[0]).toMatchObject({ dockerNetwork: first.joins[0]?.dockerNetwork });
  expect(second.joins[0]?.ip).not.toBe(first.joins[0]?.ip);
  expect([...listening]).toEqual(first.dnsServers);
  await network.release('t1');
  expect(engine.size).toBe(1);
  await network.release('t2');
  await clock.advance(2_000);
  expect([engine.size, listening.size, leased]).toEqual([0, 0, ['']]);
  abort.abort();
  await clock.advance(10_000);
  await running;
});

it('a restart in place does not queue behind those who wait for a network-manager', async () => {
  const { clock, manager, network, prepare } = setUp();
  await network.adopt([]);
  const first = await prepare('t1', 's1');
  manager.away = true;
  const waiting = prepare('t2', 's2').catch((error: unknown) => error);
  expect(await prepare('t1', 's1')).toEqual(first);
  await clock.advance(3_000);
  expect(await waiting).toMatchObject({ code: 'Unavailable' });
});

it("somebody else's container on a network keeps that network alone; tasks and other networks go", async () => {
  const { clock, engine, foreign, listening, network, prepare } = setUp();
  const abort = new AbortController();
  const running = network.run(abort.signal);
  await network.adopt([]);
  const [kept] = (await prepare('t1', 's1')).joins;
  await prepare('t2', 's2');
  foreign.add(kept?.dockerNetwork ?? '');
  await network.release('t1');
  await network.release('t2');
  expect([...engine.keys()]).toEqual([kept?.dockerNetwork]);
  await clock.advance(20_000);
  expect(listening.size).toBe(1);
  foreign.clear();
  await clock.advance(6_000);
  expect([engine.size, listening.size]).toEqual([0, 0]);
  abort.abort();
  await clock.advance(10_000);
  await running;
});
