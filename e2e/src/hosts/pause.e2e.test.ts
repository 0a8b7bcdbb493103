import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ControlPlane } from './control-plane.ts';
import type { Rig } from './rig.ts';
import { startRig, webStack } from './rig.ts';

const pauseMs = 2_000;
/** Between two pauses: whatever the first has upset is over, or shows itself. */
const betweenMs = 1_500;

interface Pausable {
  readonly name: string;
  stop(): Promise<unknown>;
  resume(): Promise<unknown>;
}

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  await rig.up(webStack('pause', 6));
  await rig.judge.settled();
});
afterAll(() => rig.down('pause'));

it('no host is lost and no task replaced while every process in turn is paused for 2 s', async ({ task }) => {
  const { cluster, judge } = rig;
  const before = await judge.snapshot();
  const targets = (await Promise.all(cluster.hosts.map(pausablesOf))).flat();
  // On each host the engine, its containerd and the agent; on the manager etcd, NATS and two replicas of each service.
  expect(targets.map(({ name }) => name)).toHaveLength(3 * cluster.hosts.length + 8);
  const watch = watchStatuses();
  try {
    for (const target of targets) {
      try {
        await target.stop();
        await sleep(pauseMs);
      } finally {
        await target.resume();
      }
      await sleep(betweenMs);
    }
  } finally {
    await watch.end();
  }
  const { seen } = watch;
  recordFigures(task, {
    'paused in turn': targets.length,
    'looks at `node ls` that were answered': seen.answers,
    'statuses seen': [...seen.statuses].sort().join(', '),
  });
  expect(seen.answers).toBeGreaterThan(targets.length);
  expect([...seen.statuses]).not.toContain('lost');
  await rig.statuses({ h1: 'ready', h2: 'ready', h3: 'ready' });
  await new ControlPlane(cluster.host).ready();
  await judge.untouched(before);
  await judge.settled();
});

async function pausablesOf(host: Host): Promise<Pausable[]> {
  const processes = ['/run/docker.pid', '/run/docker/containerd/containerd.pid'].map((file): Pausable => {
    const signal = (name: string) => host.exec(['sh', '-c', `kill -${name} "$(cat ${file})"`]);
    return { name: `${file} of ${host.name}`, stop: () => signal('STOP'), resume: () => signal('CONT') };
  });
  const statics = await host.docker(['ps', '--filter', 'label=berth.static=true', '--format', '{{.Names}}']);
  const containers = ['berth-agent', ...statics.split('\n').filter(Boolean)];
  return [
    ...processes,
    ...containers.map((name) => ({
      name: `${name} of ${host.name}`,
      stop: () => host.freezeContainer(name),
      resume: () => host.thawContainer(name),
    })),
  ];
}

/** What the registry says of every node, again and again; a question that meets a paused process is not answered. */
function watchStatuses(): { readonly seen: { answers: number; statuses: Set<string> }; end(): Promise<void> } {
  const seen = { answers: 0, statuses: new Set<string>() };
  let ended = false;
  const looking = (async () => {
    while (!ended) {
      const { code, stdout } = await rig.cluster.tryBerth(['node', 'ls', '--output', 'json']);
      if (code === 0) {
        seen.answers += 1;
        for (const { status } of JSON.parse(stdout) as { status: string }[]) seen.statuses.add(status);
      }
      await sleep(300);
    }
  })();
  return {
    seen,
    async end() {
      ended = true;
      await looking;
    },
  };
}
