import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { retry } from '../cluster.ts';
import { ControlPlane } from './control-plane.ts';
import type { Rig } from './rig.ts';
import { full, startRig } from './rig.ts';

// etcd, NATS and the three services are off for as long; the agents go on with what they last agreed to.
const offMs = full ? 300_000 : 60_000;
/** After a boot an agent asks the control plane for 10 s; the rest is the engine's and the containers' start. */
const aloneWithinMs = 40_000;

const stack = `
name: app
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www"]
    expose: ["80"]
    stop_signal: SIGKILL
    deploy: { mode: global }
  caller:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
  crasher:
    image: busybox:latest
    command: ["sh", "-c", "trap 'exit 7' USR1; while true; do sleep 0.1; done"]
    restart: always
    stop_signal: SIGKILL
    deploy: { mode: global }
`;

let rig: Rig;
let plane: ControlPlane;

beforeAll(async () => {
  rig = await startRig();
  plane = new ControlPlane(rig.cluster.host);
  await rig.up(stack);
  await rig.judge.settled();
});
afterAll(() => rig.down('app'));

const containerOf = async (host: Host, service: string): Promise<string> => {
  const filters = ['--filter', 'label=berth.stack=app', '--filter', `label=berth.service=${service}`];
  const ids = await host.docker(['ps', '--quiet', '--no-trunc', ...filters]);
  const [id] = ids.split('\n').filter(Boolean);
  if (id === undefined) throw new Error(`${service} does not run on ${host.name}`);
  return id;
};

/** From a container on each host: every address of `web` answers, each with a page of its own. */
const traffic = async (): Promise<void> => {
  const { hosts } = rig.cluster;
  for (const host of hosts) {
    const caller = await containerOf(host, 'caller');
    const answer = await host.tryExec(['docker', 'exec', caller, 'nslookup', '-type=a', 'web', '127.0.0.11']);
    const found = answer.stdout.match(/\b\d+\.\d+\.\d+\.\d+\b/gu) ?? [];
    const addresses = [...new Set(found)].filter((address) => !address.startsWith('127.'));
    const pages = await Promise.all(
      addresses.map((address) =>
        host.exec(['docker', 'exec', caller, 'timeout', '3', 'wget', '-q', '-O', '-', `http://${address}/`]),
      ),
    );
    expect(new Set(pages).size, `pages from ${host.name}: ${answer.stdout}`).toBe(hosts.length);
  }
};

it(`goes on without a control plane for ${offMs / 1_000} s, over a reboot, and nothing is touched on its return`, async ({
  task,
}) => {
  const { cluster, judge, others } = rig;
  const [rebooted] = others;
  await retry(10_000, traffic);
  const before = await judge.snapshot();
  const offAt = performance.now();
  const outage = await plane.switchOff();
  try {
    await sleep(3_000);
    await judge.untouched(before);
    await traffic();

    // A container that crashes is restarted.
    const crashed = await containerOf(cluster.host, 'crasher');
    const crashedAt = performance.now();
    await cluster.host.docker(['kill', '--signal', 'USR1', crashed]);
    await retry(20_000, async () => expect(await containerOf(cluster.host, 'crasher')).not.toBe(crashed));
    recordFigures(task, { 'crashed container restarted after ms': Math.round(performance.now() - crashedAt) });

    // A host that boots brings back its tasks alone.
    await rebooted.kill();
    await rebooted.start();
    const bootedAt = performance.now();
    await retry(aloneWithinMs, async () => {
      for (const service of ['web', 'caller', 'crasher']) await containerOf(rebooted, service);
    });
    recordFigures(task, { 'tasks of the rebooted host run after ms': Math.round(performance.now() - bootedAt) });
    await retry(10_000, traffic);
    await sleep(Math.max(0, offMs - (performance.now() - offAt)));
    await traffic();
  } finally {
    await outage.end();
  }
  const atReturn = await judge.snapshot();
  const returnedAt = performance.now();
  await plane.ready();
  await rig.statuses({ h1: 'ready', h2: 'ready', h3: 'ready' });
  await judge.settled();
  recordFigures(task, { 'all as promised after ms of return': Math.round(performance.now() - returnedAt) });
  await sleep(5_000);
  await judge.untouched(atReturn);
  await judge.holds();
  await traffic();
});
