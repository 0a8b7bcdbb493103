import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster } from '@berth/e2e/cluster';
import type { Host } from '@berth/testing-hosts';
import type { Bench } from '../bench.ts';
import { countContainers } from '../engine-api.ts';
import type { Row } from '../rows.ts';
import { rowOf } from '../rows.ts';
import { berth } from './berth.ts';
import type { Contender, Load } from './contender.ts';
import { plain } from './plain.ts';
import { swarm } from './swarm.ts';
import { watchHosts } from './watch-hosts.ts';

const loads: readonly Load[] = [
  { name: '1 service × 30', services: 1, replicas: 30 },
  { name: '1 service × 90', services: 1, replicas: 90 },
  { name: '60 services × 1', services: 60, replicas: 1 },
];
const goals: Readonly<Record<string, string>> = {
  '1 service × 30': '≤ 1.15 × plain',
  '1 service × 90': '≤ 1.0 × plain',
  '60 services × 1': '≤ 1.0 × plain',
};

/** A host is quiet that takes less of a core than this, in cores. */
const quietCores = 0.1;
/** Hosts that are not quiet after this time have something that a bench is not to be measured beside. */
const quietLimitMs = 30_000;

/** What one round gave, in seconds. */
interface Measured {
  readonly running: number;
  readonly named: number | undefined;
  readonly gone: number;
  readonly cpuPerContainer: number;
}

/** From nothing to all running and named on 3 hosts, and back to none. */
export const converge: Bench = {
  what: 'replicas on 3 hosts to all running and named, and back to none, beside Swarm and plain engine calls',
  rounds: 5,
  async run(rounds, progress) {
    await using cluster = await startCluster({ hosts: 3 });
    const contenders = [berth(cluster), await swarm(cluster.hosts), plain(cluster.hosts)];
    const measured = new Map<string, Measured[]>();
    for (const load of loads) {
      for (let round = 1; round <= rounds; round += 1) {
        for (const contender of rotated(contenders, round)) {
          await quiet(cluster.hosts);
          const one = await oneRound(cluster.hosts, contender, load);
          progress(`${load.name}, round ${round}, ${contender.name}: ${JSON.stringify(one)}`);
          const key = `${load.name} ${contender.name}`;
          measured.set(key, [...(measured.get(key) ?? []), one]);
        }
      }
    }
    return loads.flatMap((load) => rowsOf(load, (name) => measured.get(`${load.name} ${name}`) ?? []));
  },
};

/** The same ones, another first in each round: none has the same one's removal before it each time. */
function rotated<T>(all: readonly T[], round: number): T[] {
  const first = round % all.length;
  return [...all.slice(first), ...all.slice(0, first)];
}

/** Until what went before is done with on all hosts: engines still tidy up after they have told of the last removal. */
async function quiet(hosts: readonly Host[]): Promise<void> {
  for (let waitedMs = 0; waitedMs < quietLimitMs; waitedMs += 1_000) {
    const before = cpuOf(hosts);
    await sleep(1_000);
    if (cpuOf(hosts) - before < quietCores * hosts.length) return;
  }
  throw new Error(`the hosts are not quiet after ${quietLimitMs / 1_000} s`);
}

async function oneRound(hosts: readonly Host[], contender: Contender, load: Load): Promise<Measured> {
  const left = await countContainers(hosts, contender.label, { all: true });
  if (left > 0) throw new Error(`${contender.name}: ${left} containers are left from an earlier round`);
  await contender.prepare(load);
  const watch = watchHosts(hosts, contender, load);
  try {
    await watch.listening;
    const cpuBefore = cpuOf(hosts);
    const began = process.hrtime.bigint();
    const asked = contender.up(load);
    const { running, named } = await watch.arrived(began);
    await asked;
    const cpuPerContainer = (cpuOf(hosts) - cpuBefore) / (load.services * load.replicas);
    const ending = process.hrtime.bigint();
    const [gone] = await Promise.all([watch.gone(ending), contender.zero(load)]);
    return { running, named, gone, cpuPerContainer };
  } finally {
    watch.stop();
    await contender.clean(load);
  }
}

function cpuOf(hosts: readonly Host[]): number {
  return hosts.reduce((sum, host) => sum + host.cpuSeconds(), 0);
}

function rowsOf(load: Load, of: (contender: string) => readonly Measured[]): Row[] {
  const samples = (contender: string, value: (one: Measured) => number): number[] => of(contender).map(value);
  const up = (one: Measured): number => one.named ?? one.running;
  const row = (what: string, unit: string, value: (one: Measured) => number, reference: string, goal = ''): Row =>
    rowOf({
      bench: 'converge',
      case: `${load.name}: ${what}`,
      unit,
      goal,
      samples: samples('Berth', value),
      reference: { name: reference, samples: samples(reference, value) },
    });
  return [
    row('up', 's', up, 'plain engine calls', goals[load.name]),
    row('up', 's', up, 'Swarm'),
    row('down', 's', (one) => one.gone, 'Swarm'),
    row('cpu a container', 'cpu-s', (one) => one.cpuPerContainer, 'plain engine calls'),
  ];
}
