import { setTimeout as sleep } from 'node:timers/promises';
import { startCluster } from '@berth/e2e/cluster';
import type { Host } from '@berth/testing-hosts';
import type { Bench } from './bench.ts';
import type { Row } from './rows.ts';
import { rowOf } from './rows.ts';

const settleMs = 20_000;
const windowMs = 20_000;
const containers = 30;
const parts = ['etcd', 'nats', 'registry', 'scheduler', 'network-manager', 'agent'] as const;
type Part = (typeof parts)[number];

interface Usage {
  readonly mib: number;
  readonly cpuSeconds: number;
}

/** Memory and cpu of the control plane, and of an agent with 30 containers, when nothing happens. */
export const idle: Bench = {
  what: 'memory (PSS) and cpu of the control plane and of an agent with 30 containers',
  rounds: 5,
  async run(rounds, progress) {
    await using cluster = await startCluster();
    await cluster.berth(['up', '-f', cluster.compose('idle', compose)]);
    progress(`${containers} containers run; waiting ${settleMs / 1000} s`);
    await sleep(settleMs);
    const pids = await pidsOf(cluster.host);
    const memory = new Map<Part, number[]>(parts.map((part) => [part, []]));
    const cpu = new Map<Part, number[]>(parts.map((part) => [part, []]));
    for (let round = 1; round <= rounds; round += 1) {
      const before = await usageOf(cluster.host, pids);
      const began = performance.now();
      await sleep(windowMs);
      const after = await usageOf(cluster.host, pids);
      const seconds = (performance.now() - began) / 1000;
      for (const part of parts) {
        const used = ((after.get(part)?.cpuSeconds ?? 0) - (before.get(part)?.cpuSeconds ?? 0)) / seconds;
        memory.get(part)?.push(after.get(part)?.mib ?? 0);
        cpu.get(part)?.push(used * 100);
      }
      progress(`round ${round} of ${rounds}`);
    }
    const plane = parts.filter((part) => part !== 'agent');
    const sum = Array.from({ length: rounds }, (_, i) =>
      plane.reduce((all, part) => all + (memory.get(part)?.[i] ?? 0), 0),
    );
    return [
      row('control plane, memory', 'MiB', sum, '≤ 450'),
      ...parts.map((part) => row(`${part}, memory`, 'MiB', memory.get(part) ?? [], part === 'agent' ? '≤ 95' : '')),
      ...parts.map((part) => row(`${part}, cpu`, '% of a core', cpu.get(part) ?? [], '< 2')),
    ];
  },
};

const compose = `name: idle
services:
  sleeper:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { replicas: ${containers} }
`;

function row(name: string, unit: string, samples: readonly number[], goal: string): Row {
  return rowOf({ bench: 'idle', case: name, unit, samples, goal });
}

/** All processes of each part's container, as the host numbers them. */
async function pidsOf(host: Host): Promise<ReadonlyMap<Part, readonly string[]>> {
  const pids = new Map<Part, readonly string[]>();
  for (const part of parts) {
    const filter = part === 'agent' ? 'name=^berth-agent$' : `label=berth.service=${part}`;
    const id = (await host.docker(['ps', '--quiet', '--filter', filter])).trim();
    if (id === '') throw new Error(`${part} does not run`);
    const [, ...lines] = (await host.docker(['top', id, '-eo', 'pid'])).trim().split('\n');
    pids.set(
      part,
      lines.map((line) => line.trim()),
    );
  }
  return pids;
}

async function usageOf(host: Host, pids: ReadonlyMap<Part, readonly string[]>): Promise<ReadonlyMap<Part, Usage>> {
  const usage = new Map<Part, Usage>();
  for (const [part, own] of pids) {
    let kib = 0;
    let ticks = 0;
    for (const pid of own) {
      const [rollup, stat] = await Promise.all([
        host.exec(['cat', `/proc/${pid}/smaps_rollup`]),
        host.exec(['cat', `/proc/${pid}/stat`]),
      ]);
      kib += Number(/^Pss:\s+(\d+)/mu.exec(rollup)?.[1]);
      // utime and stime are fields 14 and 15, those of ended children 16 and 17; the name before them may hold spaces.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      for (const field of fields.slice(11, 15)) ticks += Number(field);
    }
    // Linux counts in hundredths of a second (USER_HZ) everywhere.
    usage.set(part, { mib: kib / 1024, cpuSeconds: ticks / 100 });
  }
  return usage;
}
