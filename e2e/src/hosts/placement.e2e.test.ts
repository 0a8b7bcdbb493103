import type { Host } from '@berth/testing-hosts';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { retry } from '../cluster.ts';
import type { Rig } from './rig.ts';
import { startRig } from './rig.ts';

// Where tasks go: spread over the hosts, and by labels, also by labels that change.
let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterEach(async () => {
  await rig.cluster.tryBerth(['down', 'labelled']);
  for (const host of rig.cluster.hosts) await rig.cluster.tryBerth(['node', 'label', host.name, 'disk-']);
  await rig.down('spread');
  await rig.judge.settled();
});

/** Running containers of a service by host, by Docker's own word. */
function spread(name: string, service: string): Promise<number[]> {
  return Promise.all(rig.cluster.hosts.map((host) => running(host, name, service)));
}

async function running(host: Host, name: string, service: string): Promise<number> {
  const filters = ['--filter', `label=berth.stack=${name}`, '--filter', `label=berth.service=${service}`];
  return (await host.docker(['ps', '--quiet', ...filters])).split('\n').filter(Boolean).length;
}

const stack = (replicas: number) => `
name: spread
services:
  web:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { replicas: ${replicas} }
  each:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;
// The judge reads no labels, so it is not told of this one.
const labelled = `
name: labelled
services:
  disk:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { placement: { constraints: ["node.labels.disk == ssd"] } }
`;

describe('placement over three hosts', () => {
  it('spreads replicas, up and down; a task follows the label that it asks for', async () => {
    const { cluster, judge } = rig;
    const [, second, third] = cluster.hosts as readonly [Host, Host, Host];
    await rig.up(stack(6));
    expect(await spread('spread', 'web')).toEqual([2, 2, 2]);
    expect(await spread('spread', 'each')).toEqual([1, 1, 1]);
    await rig.up(stack(3));
    // As soon as `up` is done, nothing of what was too many is left.
    expect(await spread('spread', 'web')).toEqual([1, 1, 1]);
    await judge.holds();
    await cluster.berth(['node', 'label', second.name, 'disk=ssd']);
    await cluster.berth(['up', '-f', cluster.compose('labelled', labelled)]);
    expect(await spread('labelled', 'disk')).toEqual([0, 1, 0]);
    await cluster.berth(['node', 'label', third.name, 'disk=ssd']);
    await cluster.berth(['node', 'label', second.name, 'disk=hdd']);
    await retry(20_000, async () => expect(await spread('labelled', 'disk')).toEqual([0, 0, 1]));
  });
});
