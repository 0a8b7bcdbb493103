import type { Host } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Rig } from './rig.ts';
import { startRig } from './rig.ts';

// Who waits and who is waited for are on different hosts; the order is told by their engines.
let rig: Rig;
let text: string;
beforeAll(async () => {
  rig = await startRig();
  const on = ({ name }: Host) => `deploy: { placement: { constraints: ["node.hostname == ${name}"] } }`;
  const [second, third] = rig.others;
  text = `
name: chained
services:
  web:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    depends_on: { migrate: { condition: service_completed_successfully } }
    ${on(second)}
  migrate:
    image: busybox:latest
    command: ["sleep", "2"]
    depends_on: { store: { condition: service_healthy } }
    ${on(third)}
  store:
    image: busybox:latest
    command: ["sh", "-c", "sleep 3; touch /ready; exec sleep 100000"]
    healthcheck: { test: ["CMD", "test", "-e", "/ready"], interval: 500ms, retries: 60 }
    stop_signal: SIGKILL
    ${on(second)}
`;
});
afterAll(async () => {
  await rig.cluster.berth(['down', 'chained']);
  await rig.judge.settled();
});

/** Nanoseconds since 1970, of the engine's first event of this kind about the service. */
async function at(host: Host, service: string, event: string, since: number): Promise<bigint> {
  const filters = ['--filter', 'label=berth.stack=chained', '--filter', `label=berth.service=${service}`];
  const until = (Date.now() / 1000).toFixed(3);
  const range = ['--since', (since / 1000).toFixed(3), '--until', until];
  const events = await host.docker(['events', ...range, ...filters, '--format', '{{.TimeNano}} {{.Status}}']);
  const line = events.split('\n').find((each) => each.endsWith(` ${event}`));
  if (line === undefined) throw new Error(`no ${event} of ${service} on ${host.name}:\n${events}`);
  return BigInt(line.split(' ')[0] ?? '');
}

describe('depends_on over hosts', () => {
  it('one that waits for health, and one that waits for an end, start after that by the engines’ times', async () => {
    const [second, third] = rig.others;
    const began = Date.now();
    await rig.cluster.berth(['up', '-f', rig.cluster.compose('chained', text)]);
    const order = [
      await at(second, 'store', 'start', began),
      await at(second, 'store', 'health_status: healthy', began),
      await at(third, 'migrate', 'start', began),
      await at(third, 'migrate', 'die', began),
      await at(second, 'web', 'start', began),
    ];
    expect(order).toEqual([...order].sort((a, b) => (a < b ? -1 : 1)));
  });
});
