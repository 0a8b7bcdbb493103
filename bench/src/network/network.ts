import { text } from 'node:stream/consumers';
import type { Cluster } from '@berth/e2e/cluster';
import { startCluster } from '@berth/e2e/cluster';
import type { Host } from '@berth/testing-hosts';
import type { Bench } from '../bench.ts';
import type { Row } from '../rows.ts';
import { rowOf } from '../rows.ts';
import { localImage, startSwarm } from '../swarm.ts';
import { handMade } from './hand-made.ts';
import type { Path } from './path.ts';
import { inside, pathBetween } from './path.ts';

const transferSeconds = 3;
const pings = 200;
const image = 'busybox:latest';
const command = ['sleep', '100000'];
const swarmLabel = 'bench.network';

interface Measured {
  readonly gbits: number;
  readonly roundTripMs: number;
}

/** Throughput and round trip between containers on two hosts. */
export const network: Bench = {
  what: 'Gbit/s and round trip between containers on two hosts, beside raw, hand-made and Swarm',
  rounds: 5,
  programs: [{ program: 'iperf3', package: 'iperf3' }],
  async run(rounds, progress) {
    await using cluster = await startCluster({ hosts: 2 });
    const paths = [
      await berth(cluster, 'vxlan'),
      await berth(cluster, 'host-gw'),
      raw(cluster.hosts),
      await handMade(cluster.hosts, 'vxlan'),
      await handMade(cluster.hosts, 'host-gw'),
      await swarm(cluster.hosts),
    ];
    const measured = new Map<string, Measured[]>(paths.map(({ name }) => [name, []]));
    for (let round = 1; round <= rounds; round += 1) {
      for (const path of paths) {
        const one = { gbits: await throughput(path), roundTripMs: await roundTrip(path) };
        progress(`round ${round}, ${path.name}: ${one.gbits.toFixed(2)} Gbit/s, ${one.roundTripMs.toFixed(3)} ms`);
        measured.get(path.name)?.push(one);
      }
    }
    const row = (backend: string, what: keyof Measured, unit: string, reference: string, goal = ''): Row =>
      rowOf({
        bench: 'network',
        case: `${backend}: ${what === 'gbits' ? 'throughput' : 'round trip'}`,
        unit,
        goal,
        samples: (measured.get(`Berth ${backend}`) ?? []).map((one) => one[what]),
        reference: { name: reference, samples: (measured.get(reference) ?? []).map((one) => one[what]) },
      });
    return ['vxlan', 'host-gw'].flatMap((backend) => [
      row(backend, 'gbits', 'Gbit/s', `hand-made ${backend}`, '≥ 0.97'),
      row(backend, 'gbits', 'Gbit/s', 'raw'),
      row(backend, 'gbits', 'Gbit/s', 'Swarm'),
      row(backend, 'roundTripMs', 'ms', `hand-made ${backend}`),
      row(backend, 'roundTripMs', 'ms', 'raw'),
      row(backend, 'roundTripMs', 'ms', 'Swarm'),
    ]);
  },
};

function raw([a, b]: readonly Host[]): Path {
  if (!a || !b) throw new Error('two hosts are needed');
  return { name: 'raw', from: { host: a }, to: { host: b, address: b.address } };
}

async function berth(cluster: Cluster, backend: string): Promise<Path> {
  const file = cluster.compose(
    `net-${backend}`,
    `name: net-${backend}
services:
  end:
    image: ${image}
    command: ${JSON.stringify(command)}
    stop_signal: SIGKILL
    networks: [between]
    deploy: { mode: global }
networks:
  between:
    driver_opts: { berth.backend: ${backend} }
`,
  );
  await cluster.berth(['up', '-f', file]);
  return pathBetween(`Berth ${backend}`, cluster.hosts, `berth.stack=net-${backend}`);
}

async function swarm(hosts: readonly Host[]): Promise<Path> {
  const api = await startSwarm(hosts);
  await api.call('POST', '/networks/create', { Name: 'between', Driver: 'overlay' });
  await api.call('POST', '/services/create', {
    Name: 'end',
    TaskTemplate: {
      ContainerSpec: {
        Image: await localImage(api, image),
        Args: command,
        StopSignal: 'SIGKILL',
        Labels: { [swarmLabel]: 'yes' },
      },
      Networks: [{ Target: 'between' }],
    },
    Mode: { Global: {} },
    EndpointSpec: { Mode: 'dnsrr' },
  });
  return pathBetween('Swarm', hosts, swarmLabel);
}

async function throughput({ name, from, to }: Path): Promise<number> {
  // One transfer, then the server ends by itself.
  const server = to.host.spawn(inside(to, ['iperf3', '--server', '--one-off', '--forceflush']), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await new Promise<void>((resolve) => server.stdout?.once('data', () => resolve()));
    const client = from.host.spawn(
      inside(from, ['iperf3', '--client', to.address, '--time', String(transferSeconds), '--json']),
      { stdio: ['ignore', 'pipe', 'inherit'], timeout: (transferSeconds + 20) * 1000 },
    );
    const said = client.stdout ? await text(client.stdout) : '';
    const report = JSON.parse(said) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
    const bits = report.end?.sum_received?.bits_per_second;
    if (bits === undefined) throw new Error(`${name}: ${report.error ?? said}`);
    return bits / 1e9;
  } finally {
    server.kill('SIGKILL');
  }
}

/** Mean of many, in milliseconds. */
async function roundTrip({ name, from, to }: Path): Promise<number> {
  const said = await from.host.exec(inside(from, ['ping', '-q', '-i', '0.005', '-c', String(pings), to.address]));
  const mean = /= [\d.]+\/([\d.]+)\//u.exec(said)?.[1];
  if (mean === undefined) throw new Error(`${name}: ping said ${said}`);
  return Number(mean);
}
