import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { Judge } from '@berth/testing-judge';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { retry, startCluster } from '../cluster.ts';
import type { Rig } from './rig.ts';
import { crashEngine, startRig } from './rig.ts';

// Docker Engine is killed on a host that runs tasks, on the manager too: what it takes along comes back, and nothing of
// that is held against a task.
const stack = `
name: engine
services:
  app:
    image: busybox:latest
    command: ["sleep", "100000"]
    expose: ["80"]
    stop_signal: SIGKILL
    deploy: { mode: global, restart_policy: { condition: any, delay: 1s, max_attempts: 1 } }
`;
/** Until a cluster whose manager has lost all its containers is whole again. */
const wholeWithinMs = 90_000;

interface View {
  readonly task: { readonly id: string; readonly nodeId: string };
  readonly status?: { readonly run: number; readonly failedRuns?: number };
}

const tasksOf = async (cluster: Cluster): Promise<View[]> => {
  const views = await cluster.json<View[]>(['ps', 'engine']);
  return views.sort((a, b) => (a.task.id < b.task.id ? -1 : 1));
};

describe('kill -9 of dockerd without live-restore', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
    await rig.up(stack);
    await rig.judge.settled();
  });
  afterAll(() => rig.down('engine'));

  it.for([2, 0])('on host %i: its tasks run again, and nothing is held against them', async (index, { task }) => {
    const { cluster, judge } = rig;
    const host = cluster.hosts[index] as Host;
    const others = await judge.snapshot(cluster.hosts.filter((each) => each !== host));
    const before = await tasksOf(cluster);
    await crashEngine(host);
    const backAt = performance.now();
    await judge.settled({ withinMs: wholeWithinMs });
    await retry(wholeWithinMs, () => rig.statuses({ h1: 'ready', h2: 'ready', h3: 'ready' }));
    recordFigures(task, { 'all as promised after ms': Math.round(performance.now() - backAt) });
    await judge.untouched(others);
    await retry(10_000, async () => {
      const now = await tasksOf(cluster);
      expect(now.map((view) => view.task.id)).toEqual(before.map((view) => view.task.id));
      expect(now.map(({ status }) => status?.failedRuns ?? 0)).toEqual([0, 0, 0]);
      expect(now.filter(({ status }, at) => status?.run !== before[at]?.status?.run)).toHaveLength(1);
    });
  });
});

describe('kill -9 of dockerd with live-restore', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster({ dockerdArgs: ['--live-restore'] });
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  it('no container stops, the control plane does not either, and the agent works on', async ({ task }) => {
    const judge = new Judge(cluster);
    await cluster.berth(['up', '-f', cluster.compose('engine', stack)]);
    judge.promised(stack);
    await judge.settled();
    const running = () => cluster.docker(['ps', '--no-trunc', '--format', '{{.ID}} {{.Names}}']);
    const [before, containers] = [await judge.snapshot(), await running()];
    await crashEngine(cluster.host);
    const backAt = performance.now();
    await judge.untouched(before);
    expect(await running()).toBe(containers);
    const more = stack.replace('name: engine', 'name: more');
    await cluster.berth(['up', '-f', cluster.compose('more', more), '--timeout', '60s']);
    recordFigures(task, { 'a new stack runs after ms': Math.round(performance.now() - backAt) });
    judge.promised(more);
    await judge.holds();
    await judge.untouched(before);
  });
});
