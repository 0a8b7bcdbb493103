import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '@berth/e2e/cluster';
import { startCluster } from '@berth/e2e/cluster';
import type { Host } from '@berth/testing-hosts';
import type { Bench } from './bench.ts';
import type { EngineApi } from './engine-api.ts';
import { countContainers } from './engine-api.ts';
import { rowOf } from './rows.ts';
import { localImage, setHeartbeat, startSwarm } from './swarm.ts';

const replicas = 12;
const limitMs = 120_000;
const image = 'busybox:latest';
const command = ['sleep', '100000'];
const swarmLabel = 'bench.failover';

/** Whoever keeps `replicas` containers running on the hosts. */
interface Contender {
  readonly name: string;
  readonly label: string;
  up(): Promise<void>;
  /** The hosts are all members again, and may take tasks. */
  whole(): Promise<boolean>;
  down(): Promise<void>;
}

/** From the power-off of a host, which is not the manager, until all its tasks run on the others, by Docker's word. */
export const failover: Bench = {
  what: 'power-off of a host to all its tasks running elsewhere, beside Swarm',
  rounds: 5,
  async run(rounds, progress) {
    await using cluster = await startCluster({ hosts: 3 });
    const api = await startSwarm(cluster.hosts);
    const contenders = [berth(cluster), swarm(api, 'Swarm', 5), swarm(api, 'Swarm, heartbeat 1 s', 1)];
    const samples = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
    for (let round = 1; round <= rounds; round += 1) {
      for (const contender of contenders) {
        const seconds = await oneRound(cluster.hosts, contender);
        progress(`round ${round}, ${contender.name}: ${seconds.toFixed(2)} s`);
        samples.get(contender.name)?.push(seconds);
      }
    }
    const own = samples.get('Berth') ?? [];
    return contenders.slice(1).map(({ name }) =>
      rowOf({
        bench: 'failover',
        case: `power-off, ${replicas} tasks on 3 hosts`,
        unit: 's',
        goal: name === 'Swarm' ? '≤ 0.35 × Swarm' : '',
        samples: own,
        reference: { name, samples: samples.get(name) ?? [] },
      }),
    );
  },
};

async function oneRound(hosts: readonly Host[], contender: Contender): Promise<number> {
  const [, , victim] = hosts as [Host, Host, Host];
  const others = hosts.filter((host) => host !== victim);
  await contender.up();
  await until(
    async () => (await countContainers(hosts, contender.label)) === replicas,
    `${replicas} containers of ${contender.name}`,
  );
  const before = await countContainers([victim], contender.label);
  if (before === 0) throw new Error(`${contender.name} placed nothing on ${victim.name}`);
  const began = performance.now();
  await victim.kill();
  await until(
    async () => (await countContainers(others, contender.label)) === replicas,
    `${contender.name} to take over`,
  );
  const seconds = (performance.now() - began) / 1000;
  await victim.start();
  await until(() => contender.whole(), `${contender.name} to be whole again`);
  await contender.down();
  await until(async () => (await countContainers(hosts, contender.label)) === 0, `${contender.name} to let go`);
  return seconds;
}

function berth(cluster: Cluster): Contender {
  const file = cluster.compose(
    'failover',
    `name: failover
services:
  sleeper:
    image: ${image}
    command: ${JSON.stringify(command)}
    stop_signal: SIGKILL
    deploy: { replicas: ${replicas} }
`,
  );
  return {
    name: 'Berth',
    label: 'berth.stack=failover',
    up: async () => void (await cluster.berth(['up', '-f', file])),
    async whole() {
      const nodes = await cluster.json<readonly { readonly status: string }[]>(['node', 'ls']);
      return nodes.length === cluster.hosts.length && nodes.every(({ status }) => status === 'ready');
    },
    down: async () => void (await cluster.berth(['down', 'failover'])),
  };
}

function swarm(api: EngineApi, name: string, heartbeatSeconds: number): Contender {
  return {
    name,
    label: swarmLabel,
    async up() {
      await setHeartbeat(api, heartbeatSeconds);
      // Workers take the new period with their next heartbeat.
      await sleep(6_000);
      await api.call('POST', '/services/create', {
        Name: 'failover',
        TaskTemplate: {
          ContainerSpec: {
            Image: await localImage(api, image),
            Args: command,
            StopSignal: 'SIGKILL',
            Labels: { [swarmLabel]: 'yes' },
          },
        },
        Mode: { Replicated: { Replicas: replicas } },
      });
    },
    async whole() {
      const nodes = await api.call<readonly { readonly Status: { readonly State: string } }[]>('GET', '/nodes');
      return nodes.every(({ Status }) => Status.State === 'ready');
    },
    down: async () => void (await api.call('DELETE', '/services/failover')),
  };
}

async function until(done: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await done())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs / 1000} s for ${what}`);
    await sleep(50);
  }
}
