import { rpc } from '@berth/contracts';
import type { CertificateServiceImplementation } from '@berth/contracts/registry';
import type { CallerContext, Identity } from '@berth/kernel';
import { bind } from '@berth/kernel';
import { rpcContract } from '@berth/testing-suites';
import { describe, expect, it } from 'vitest';
import { MemoryLogger } from './memory-logger.ts';
import { MemoryRpc } from './memory-rpc.ts';
import { SeededRng } from './seeded-rng.ts';
import { VirtualClock } from './virtual-clock.ts';

function world() {
  const clock = new VirtualClock();
  const network = new MemoryRpc({ clock, rng: new SeededRng(1), logger: new MemoryLogger() });
  async function run<T>(promise: Promise<T>): Promise<T> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    promise.then(end, end);
    while (!over) await clock.advance(10);
    return promise;
  }
  return { clock, network, run };
}

let port = 0;
rpcContract('memory', async () => {
  const { network, run } = world();
  return {
    serve: async (identity, services) => {
      port += 1;
      const address = `server:${port}`;
      const stop = network.serve({ identity, address, services });
      return { address, kill: async () => stop() };
    },
    dialer: (identity) => network.dialer(identity),
    run,
    close: async () => {},
  };
});

describe('faults of MemoryRpc', () => {
  const registry: Identity = { role: 'service', name: 'registry' };
  const operator: Identity = { role: 'operator', name: 'admin' };
  const target = { identity: registry, addresses: () => ['a:1', 'b:1'] };
  const counting = (calls: string[], name: string) => {
    const handler = {
      listCertificates: async () => {
        calls.push(name);
        return {};
      },
    } as unknown as CertificateServiceImplementation<CallerContext>;
    return [bind(rpc.certificate, handler)];
  };

  it('delays messages by what the test says', async () => {
    const { clock, network, run } = world();
    network.serve({ identity: registry, address: 'a:1', services: counting([], 'a') });
    network.delayMs = () => 300;
    await run(network.dialer(operator).client(rpc.certificate, target).listCertificates({}));
    expect(clock.monotonic()).toBe(600);
  });

  it('notices a cut after 2.5 s of silence and goes elsewhere; a healed one serves again', async () => {
    const { clock, network, run } = world();
    const calls: string[] = [];
    network.serve({ identity: registry, address: 'a:1', services: counting(calls, 'a') });
    network.serve({ identity: registry, address: 'b:1', services: counting(calls, 'b') });
    network.delayMs = () => 10;
    const client = network.dialer(operator, 'here').client(rpc.certificate, target);
    const call = client.listCertificates({});
    await clock.advance(15);
    const heal = network.cut('here', 'a:1');
    await run(call);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(2_500);
    expect(clock.monotonic()).toBeLessThan(4_000);
    expect(calls).toEqual(['a', 'b']);
    heal();
    await run(network.dialer(operator, 'here').client(rpc.certificate, target).listCertificates({}));
    expect(calls).toEqual(['a', 'b', 'a']);
  });

  it('delivers late what was under way when a cut heals in time', async () => {
    const { clock, network, run } = world();
    network.serve({ identity: registry, address: 'a:1', services: counting([], 'a') });
    network.delayMs = () => 10;
    const call = network.dialer(operator, 'here').client(rpc.certificate, target).listCertificates({});
    await clock.advance(5);
    const heal = network.cut('here', 'a:1');
    await clock.advance(1_000);
    heal();
    await run(call);
    expect(clock.monotonic()).toBeLessThan(1_100);
  });
});
