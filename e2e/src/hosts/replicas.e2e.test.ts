import { setTimeout as sleep } from 'node:timers/promises';
import { recordFigures } from '@berth/testing-hosts';
import type { Snapshot } from '@berth/testing-judge';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ControlPlane } from './control-plane.ts';
import type { Rig } from './rig.ts';
import { full, startRig } from './rig.ts';

// Two replicas of each service on the manager: one goes and stays away for longer than any lease, the other takes over.
const downMs = 15_000;
const replicas = 30;

let rig: Rig;
let plane: ControlPlane;
let steady: Snapshot;

beforeAll(async () => {
  rig = await startRig();
  plane = new ControlPlane(rig.cluster.host);
  await rig.up(stackOf('steady', 3));
  steady = await rig.judge.snapshot();
});
afterAll(() => rig.down('steady'));

const stackOf = (name: string, count: number) => `
name: ${name}
services:
  web:
    image: busybox:latest
    command: ["sleep", "100000"]
    expose: ["80"]
    stop_signal: SIGKILL
    deploy: { replicas: ${count} }
`;

/** Deploys 30 tasks while replicas are away, from a random moment on, then removes them. The rest is never touched. */
async function deployWhile(name: string, away: () => Promise<unknown>): Promise<number> {
  const { cluster, judge } = rig;
  const text = stackOf(name, replicas);
  const startedAt = performance.now();
  const args = ['up', '-f', cluster.compose(name, text), '--timeout', '120s'];
  const up = cluster
    .tryBerth(args)
    .then((result) => ({ ...result, tookMs: Math.round(performance.now() - startedAt) }));
  await sleep(500 + Math.random() * 4_000);
  const [{ code, stdout, stderr, tookMs }] = await Promise.all([up, away()]);
  expect(code, `${stdout}${stderr}`).toBe(0);
  judge.promised(text);
  // They run; to be found by name they are announced anew where the replica that heard of them has gone.
  await judge.settled();
  const deployed = await judge.snapshot();
  await plane.ready();
  await judge.untouched(deployed);
  await rig.down(name);
  await judge.settled();
  await judge.untouched(steady);
  return tookMs;
}

describe('two replicas of each service', () => {
  it('are members and static tasks with their reservations, and one of each leads', async () => {
    const { cluster } = rig;
    const { members } = await cluster.json<{ members: { identity: string; address: string }[] }>(['cluster', 'status']);
    for (const name of ['registry', 'scheduler', 'network-manager']) {
      const listed = members.filter(({ identity }) => identity === `service:${name}`);
      expect(new Set(listed.map(({ address }) => address)).size, name).toBe(2);
    }
    await plane.leader('scheduler');
    await plane.leader('registry');
    const tasks = await cluster.json<{ task: { service: string; reservations?: { cpuMillis: number } } }[]>([
      'ps',
      'berth',
    ]);
    const reserved = new Map(tasks.map(({ task }) => [task.service, task.reservations?.cpuMillis]));
    expect(reserved.get('scheduler-2')).toBe(reserved.get('scheduler'));
    expect(reserved.get('scheduler-2')).toBeGreaterThan(0);
  });

  it('one of each killed within a deployment and kept down for 15 s: the others finish it', async ({ task }) => {
    const victims = [await plane.leader('scheduler'), await plane.leader('registry'), 'network-manager'];
    const away = () => Promise.all(victims.map((victim) => plane.keepKilling(victim, downMs)));
    recordFigures(task, { 'deployed after ms': await deployWhile('without-three', away) });
  });
});

describe.runIf(full)('in full', () => {
  describe.each(['scheduler', 'registry'] as const)('the leading %s, within a deployment', (service) => {
    it.for([1, 2, 3, 4, 5])('killed and kept down for 15 s: the other finishes it (%i)', async (round, { task }) => {
      const victim = await plane.leader(service);
      const tookMs = await deployWhile(`killed-${service}-${round}`, () => plane.keepKilling(victim, downMs));
      recordFigures(task, { 'deployed after ms': tookMs });
    });

    it('frozen for 15 s: the other finishes it, and the thawed one changes nothing', async ({ task }) => {
      const victim = await plane.leader(service);
      const tookMs = await deployWhile(`frozen-${service}`, () => plane.freeze(victim, downMs));
      recordFigures(task, { 'deployed after ms': tookMs });
      expect(await plane.leader(service)).not.toBe(victim);
    });
  });

  it.for(['network-manager', 'network-manager-2'])(
    '%s killed and kept down: networks are made by the other',
    async (name, { task }) => {
      const tookMs = await deployWhile(`without-${name}`, () => plane.keepKilling(name, downMs));
      recordFigures(task, { 'deployed after ms': tookMs });
    },
  );
});
