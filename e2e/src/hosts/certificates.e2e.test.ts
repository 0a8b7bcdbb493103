import { setTimeout as sleep } from 'node:timers/promises';
import { agentSocket } from '@berth/deploy/start';
import { readCertificate } from '@berth/identity';
import type { Host } from '@berth/testing-hosts';
import { recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { retry, startCluster } from '../cluster.ts';

/** Certificates of this life stand for those of 90 days. */
const lifetimeS = 50;

let cluster: Cluster;
let manager: Host;
let worker: Host;
let workerId: string;
beforeAll(async () => {
  cluster = await startCluster({ hosts: 2, environment: { BERTH_CERTIFICATE_LIFETIME_S: String(lifetimeS) } });
  [manager, worker] = cluster.hosts as [Host, Host];
  const text = `
name: app
services:
  keep:
    image: busybox:latest
    command: [sleep, "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;
  await cluster.berth(['up', '-f', cluster.compose('app', text)]);
  workerId = (await nodes()).find(({ hostname }) => hostname === worker.name)?.id ?? '';
  // A person's certificate lives no longer than the others here; the tests speak as often as it takes.
}, 240_000);
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

interface NodeLine {
  readonly id: string;
  readonly hostname: string;
  readonly status: string;
}
const nodes = () => cluster.json<NodeLine[]>(['node', 'ls']);

const ready = (withinMs = 60_000) =>
  retry(withinMs, async () => {
    const states = (await nodes()).map(({ hostname, status }) => `${hostname} ${status}`).sort();
    expect(states).toEqual([manager, worker].map(({ name }) => `${name} ready`).sort());
  });

/** Ids and starting times of the application's containers on all hosts: nothing of it may change. */
async function untouched(): Promise<string> {
  const lines = [];
  for (const host of [manager, worker]) {
    const ids = (await host.docker(['ps', '--quiet', '--no-trunc', '--filter', 'label=berth.stack=app'])).split('\n');
    for (const id of ids.filter(Boolean)) {
      lines.push(await host.docker(['inspect', '--format', '{{.Id}} {{.State.StartedAt}} {{.State.Pid}}', id]));
    }
  }
  expect(lines).toHaveLength(2);
  return lines.map((line) => line.trim()).join('\n');
}

/** State of a host's agent: the manager's where the test put it, others' where the printed line puts it. */
const stateOf = (host: Host): string => (host === manager ? cluster.stateDir : '/var/lib/berth');
const pemOf = (host: Host, file: string) => host.exec(['cat', `${stateOf(host)}/certs/${file}`]);
const endOf = async (host: Host, folder: string) => readCertificate(await pemOf(host, `${folder}/cert.pem`)).notAfterMs;
const taskIds = async () => (await cluster.json<{ task: { id: string } }[]>(['ps', 'app'])).map(({ task }) => task.id);
/** Who holds a connection to NATS, by what NATS itself says. */
const natsUsers = () =>
  manager.exec([
    process.execPath,
    '-e',
    "fetch('http://127.0.0.1:7453/connz?auth=1').then((r) => r.text()).then((t) => console.log(t))",
  ]);
/** Everybody's way through everybody: CLI, registry, scheduler, agent. */
const works = () =>
  retry(30_000, async () => {
    for (const id of await taskIds()) {
      expect(await cluster.berth(['exec', id, 'echo', 'through'])).toContain('through');
    }
  });

describe('certificates that end within the minute', () => {
  it('are renewed on every host while everything runs on', async () => {
    const before = await untouched();
    const all = () => Promise.all([endOf(manager, 'registry'), endOf(manager, 'node'), endOf(worker, 'node')]);
    const ends = await all();
    for (const until = Date.now() + (lifetimeS + 10) * 1_000; Date.now() < until; await sleep(5_000)) await nodes();
    for (const [i, end] of (await all()).entries()) expect(end).toBeGreaterThan(ends[i] ?? 0);
    await ready();
    await works();
    expect(await untouched()).toBe(before);
  }, 150_000);

  it('who was revoked is shut out at once, and from NATS within 10 s; a reader may look and not touch', async ({
    task,
  }) => {
    await cluster.berth(['certificate', 'issue', 'reader', 'grafana']);
    const as = ['--context', 'reader-grafana'];
    expect(JSON.parse(await cluster.berth(['ps', 'app', ...as, '--output', 'json']))).toHaveLength(2);
    for (const forbidden of [
      ['down', 'app'],
      ['certificate', 'ls'],
      ['cluster', 'token'],
      ['exec', (await taskIds())[0] ?? '', 'true'],
    ]) {
      expect((await cluster.tryBerth([...as, ...forbidden])).code, forbidden.join(' ')).toBe(5);
    }
    // Follows events, and would for good; it ends with the host.
    void cluster.tryBerth(['events', '-f', ...as]).catch(() => undefined);
    await retry(15_000, async () => expect(await natsUsers()).toContain('grafana.reader.berth'));
    const revokedMs = Date.now();
    await cluster.berth(['certificate', 'revoke', 'reader:grafana']);
    await retry(10_000, async () => expect(await natsUsers()).not.toContain('grafana.reader.berth'));
    const outMs = Date.now() - revokedMs;
    const refused = await cluster.tryBerth(['ps', ...as]);
    expect(refused).toMatchObject({ code: 5, stderr: expect.stringContaining('revoked') });
    const again = await cluster.tryBerth(['certificate', 'issue', 'reader', 'grafana']);
    expect(again).toMatchObject({ code: 6, stderr: expect.stringContaining('does not come back') });
    recordFigures(task, { outOfNatsMs: outMs });
  }, 60_000);

  it('a control plane that was off for longer than they live starts by itself; a host rejoins with a token', async () => {
    const before = await untouched();
    const others = (await manager.docker(['ps', '--quiet', '--filter', 'label=berth.stack=berth']))
      .split('\n')
      .filter(Boolean);
    await manager.docker(['kill', 'berth-agent']);
    await manager.docker(['kill', ...others]);
    await sleep((lifetimeS + 5) * 1_000);
    await manager.docker(['start', 'berth-agent']);
    // The operator's certificate has ended too: root on a manager gets a new one.
    await retry(60_000, async () => {
      await cluster.berth(['cluster', 'operator', '--socket', agentSocket(cluster.stateDir)]);
      await nodes();
    });
    // The worker could not renew; it says what to do, and does it as soon as it can.
    await retry(40_000, async () => {
      expect(await worker.docker(['logs', 'berth-agent'])).toMatch(/certificate ended at .*berth cluster token/u);
    });
    const { token } = await cluster.json<{ token: string }>(['cluster', 'token']);
    await worker.exec(['sh', '-c', `echo ${token} >${stateOf(worker)}/join-token`]);
    await ready();
    expect((await nodes()).find(({ hostname }) => hostname === worker.name)?.id).toBe(workerId);
    await works();
    expect(await untouched()).toBe(before);
  }, 240_000);
});

describe('a rotation of the CAs', () => {
  it('replaces both while everything runs, and ends with the old ones trusted by nobody', async ({ task }) => {
    const before = await untouched();
    await cluster.berth(['cluster', 'operator', '--socket', agentSocket(cluster.stateDir)]);
    const old = await pemOf(manager, 'registry/ca.pem');
    await cluster.berth(['certificate', 'issue', 'operator', 'idle']);
    const started = Date.now();
    const waiting = await cluster.tryBerth(['cluster', 'rotate-ca', '--timeout', '25s']);
    expect(waiting).toMatchObject({ code: 3, stderr: expect.stringContaining('operator:idle') });
    expect(await cluster.json(['cluster', 'rotate-ca', '--status'])).toMatchObject({ generation: 1 });
    await works();
    await cluster.berth(['cluster', 'rotate-ca', '--leave-behind', '--timeout', '3m']);
    recordFigures(task, { rotationMs: Date.now() - started });
    await ready();
    await works();
    for (const [host, folder] of [
      [manager, 'registry'],
      [manager, 'nats'],
      [manager, 'etcd'],
      [manager, 'node'],
      [worker, 'node'],
    ] as const) {
      const trusted = await retry(30_000, async () => {
        const pem = await pemOf(host, `${folder}/ca.pem`);
        expect(pem.match(/BEGIN CERTIFICATE/gu)).toHaveLength(1);
        return pem;
      });
      expect(trusted).not.toBe(old);
    }
    // Who was left behind is out: neither side trusts the other.
    expect((await cluster.tryBerth(['ps', '--context', 'operator-idle'])).code).toBeGreaterThan(3);
    expect(await untouched()).toBe(before);
  }, 240_000);
});
