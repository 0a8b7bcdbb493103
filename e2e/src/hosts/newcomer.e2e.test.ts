import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { retry } from '../cluster.ts';
import type { Look } from '../own-machine.ts';
import { stateOf } from '../own-machine.ts';
import { startLoads } from './load.ts';
import type { Rig } from './rig.ts';
import { loadedStack, startRig } from './rig.ts';

// A fourth host comes while a deployment runs, does its part, is drained under load, and leaves as it came.
const stack = 'growing';
const connectionsPerSecond = 50;
const text = (replicas: number) => loadedStack(stack, replicas);
/** What of a host is no other's: its folders and control groups show the machine's too. */
const looks: readonly Look[] = [
  ...(['containers', 'engineNetworks', 'volumes', 'images', 'devices', 'addresses', 'routes', 'rules'] as const),
  ...(['nftables', 'iptables', 'sysctls', 'mounts'] as const),
];

let rig: Rig;
let cluster: Cluster;
let fourth: Host;
let before: Record<string, string>;
const lookAt = (host: Host) => stateOf((script) => host.exec(['sh', '-c', script]), looks);
const stateFolder = async (host: Host) => (await host.tryExec(['ls', '-A', '/var/lib/berth'])).stdout;

beforeAll(async () => {
  rig = await startRig();
  cluster = rig.cluster;
  fourth = await cluster.addHost();
  rig.judge.excluded(fourth);
  before = await lookAt(fourth);
});
// The cluster is others' too.
afterAll(async () => {
  await cluster.tryBerth(['down', stack]);
  await cluster.tryBerth(['node', 'rm', fourth.name, '--force']);
  await cluster.removeHost(fourth);
});

describe('a fourth host', () => {
  it('joins while a deployment runs: the global services come to it, and its part of what comes then', async () => {
    const { judge } = rig;
    const up = rig.up(text(9));
    await cluster.join(fourth);
    judge.included(fourth);
    await up;
    await judge.settled();
    const everywhere = ['ps', '--quiet', '--filter', `label=berth.stack=${stack}`];
    expect((await fourth.docker([...everywhere, '--filter', 'label=berth.service=everywhere'])).trim()).not.toBe('');
    await rig.up(text(12));
    await judge.settled();
    expect((await fourth.docker([...everywhere, '--filter', 'label=berth.service=web'])).trim()).not.toBe('');
  });

  it('has its token in no argument and no environment, and its file is gone', async () => {
    const inspected = await fourth.docker(['inspect', 'berth-agent']);
    expect(inspected).not.toContain('BRTHTKN');
    expect((await fourth.tryExec(['ls', '/var/lib/berth/join'])).code).not.toBe(0);
  });

  it(`is drained and removed under ${connectionsPerSecond} new connections/s: none fails, nothing of Berth stays there`, async ({
    task,
  }) => {
    const { judge, others } = rig;
    const untouched = await judge.snapshot(cluster.hosts.filter((host) => host !== fourth));
    const load = await startLoads(
      { hosts: others, stack, service: 'client' },
      { url: 'http://web/', perSecond: connectionsPerSecond },
    );
    const began = performance.now();
    await cluster.berth(['node', 'drain', fourth.name, '--timeout', '60s']);
    const drainedMs = Math.round(performance.now() - began);
    judge.excluded(fourth);
    await judge.settled();
    expect(await judge.snapshot([fourth])).toEqual([]);
    await cluster.berth(['node', 'rm', fourth.name]);
    await retry(30_000, async () => {
      // The folder itself was made by the line that made it a node, and is empty.
      expect(await stateFolder(fourth)).toBe('');
      expect(await lookAt(fourth)).toEqual(before);
    });
    const { count, slowestMs, failures } = await load.stop();
    recordFigures(task, { 'drained ms': drainedMs, connections: count, 'slowest ms': slowestMs });
    expect(failures).toEqual([]);
    expect(count).toBeGreaterThan((drainedMs / 1000) * connectionsPerSecond * 0.8);
    await judge.untouched(untouched);
    await judge.holds();
  });
});

describe('a line whose token was rotated away', () => {
  it('ends with a clear word', async () => {
    const { line } = await cluster.json<{ line: string }>(['cluster', 'token', '--ttl', '1m']);
    await cluster.berth(['cluster', 'token', '--rotate']);
    const fifth = await cluster.addHost();
    try {
      await fifth.exec(['sh', '-c', line]);
      await retry(30_000, async () => {
        // Docker starts it again and again, and each life says it once.
        const format = '{{.RestartCount}} {{.State.ExitCode}}';
        const state = await fifth.docker(['inspect', '--format', format, 'berth-agent']);
        const log = await fifth.tryExec(['docker', 'logs', 'berth-agent']);
        expect(`${log.stdout}${log.stderr}`).toContain('take a new one from `berth cluster token`');
        expect(state).toMatch(/^[1-9]\d* 1/u);
      });
    } finally {
      await cluster.removeHost(fifth);
    }
  });
});
