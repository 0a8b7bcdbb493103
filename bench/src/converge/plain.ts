import type { Host } from '@berth/testing-hosts';
import { EngineApi, filters, removeNetwork } from '../engine-api.ts';
import type { Contender } from './contender.ts';
import { command, image, serviceNames } from './contender.ts';

const atATime = 8;
const label = 'bench.plain';

/** The least there is: engine calls at concurrency 8, containers on bridge networks, no names over hosts, no checks. */
export function plain(hosts: readonly Host[]): Contender {
  const engines = hosts.map((host) => new EngineApi(host.socket));
  const engineOf = (index: number): EngineApi => engines[index % engines.length] as EngineApi;
  const listed = async (engine: EngineApi): Promise<readonly { readonly Id: string }[]> =>
    engine.call('GET', `/containers/json?all=1&${filters({ label: [label] })}`);
  return {
    name: 'plain engine calls',
    label,
    nameOf: () => undefined,
    serviceOf: (labels) => labels[label] ?? '',
    prepare: async () => undefined,
    async up(load) {
      // A service's network on every host that has a replica of it, then its replicas in turn over the hosts.
      const tasks = serviceNames(load).flatMap((service, s) =>
        Array.from({ length: load.replicas }, (_, r) => ({ service, index: s + r })),
      );
      const networks = new Map<string, Promise<unknown>>();
      await inTurn(tasks, async ({ service, index }) => {
        const engine = engineOf(index);
        const key = `${service} ${index % engines.length}`;
        let network = networks.get(key);
        if (network === undefined) {
          network = engine.call('POST', '/networks/create', { Name: `plain-${service}`, CheckDuplicate: true });
          networks.set(key, network);
        }
        await network;
        const { Id } = await engine.call<{ Id: string }>('POST', '/containers/create', {
          Image: image,
          Cmd: command,
          StopSignal: 'SIGKILL',
          Labels: { [label]: service },
          HostConfig: { NetworkMode: `plain-${service}` },
        });
        await engine.call('POST', `/containers/${Id}/start`);
      });
    },
    async zero() {
      const found = await Promise.all(
        engines.map(async (engine) => (await listed(engine)).map(({ Id }) => ({ engine, Id }))),
      );
      await inTurn(found.flat(), ({ engine, Id }) => engine.call('DELETE', `/containers/${Id}?force=1`));
    },
    async clean(load) {
      await inTurn(
        serviceNames(load).flatMap((service) => engines.map((engine) => ({ service, engine }))),
        async ({ service, engine }) => {
          const found = await engine.call<{ Name: string }[]>(
            'GET',
            `/networks?${filters({ name: [`plain-${service}`] })}`,
          );
          if (found.some(({ Name }) => Name === `plain-${service}`)) await removeNetwork(engine, `plain-${service}`);
        },
      );
    },
  };
}

/** Works on all items, {@link atATime} at once. */
async function inTurn<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atATime }, worker));
}
