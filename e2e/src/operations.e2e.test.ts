import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { retry, sharedCluster } from './cluster.ts';

/** What users do besides up and down, each as they know it from Docker. */
let cluster: Cluster;
beforeAll(async () => {
  cluster = await sharedCluster();
});
afterAll(async () => {
  for (const stack of ['ops', 'opsport']) await cluster.tryBerth(['down', stack, '--volumes']);
});

const file = (replicas: number, more = '') => `
name: ops
services:
  db:
    image: redis:7
    volumes: ["data:/data"]
    deploy: { replicas: ${replicas} }
${more}
volumes:
  data:
`;
const volumes = async () => (await cluster.docker(['volume', 'ls', '--quiet', '--filter', 'name=ops_'])).trim();

describe('volumes', () => {
  it('go with `down --volumes` also when no task is left where they live', async () => {
    await cluster.berth(['up', '-f', cluster.compose('ops', file(1))]);
    expect(await volumes()).toBe('ops_data');
    await cluster.berth(['up', '-f', cluster.compose('ops', file(0))]);
    await retry(20_000, async () => expect(await cluster.containers('ops')).toEqual([]));
    await cluster.berth(['down', 'ops', '--volumes']);
    expect(await volumes()).toBe('');
  });

  it('go with `down --volumes` also after a `down` that left them', async () => {
    await cluster.berth(['up', '-f', cluster.compose('ops', file(1))]);
    await cluster.berth(['down', 'ops']);
    expect(await volumes()).toBe('ops_data');
    const again = await cluster.tryBerth(['down', 'ops']);
    expect([again.code === 0, again.stderr]).toEqual([false, expect.stringContaining('--volumes')]);
    await cluster.berth(['down', 'ops', '--volumes']);
    expect(await volumes()).toBe('');
    expect((await cluster.tryBerth(['down', 'ops', '--volumes'])).code).not.toBe(0);
  });
});

describe('a running task', () => {
  it('runs commands: exit codes are those of the command, and of a shell where there is none', async () => {
    await cluster.berth(['up', '-f', cluster.compose('ops', file(1))]);
    const exec = (...command: string[]) => cluster.tryBerth(['exec', 'ops_db.1', '--', ...command]);
    expect((await exec('sh', '-c', 'echo out; exit 7')).code).toBe(7);
    expect((await exec('sh', '-c', 'exit 0')).code).toBe(0);
    expect([126, 127]).toContain((await exec('/nowhere')).code);
  });

  it('is followed in its log until it is taken away, which the scheduler outlives', async () => {
    const scheduler = async () =>
      await cluster.docker([
        'ps',
        '--no-trunc',
        '--filter',
        'label=berth.stack=berth',
        '--filter',
        'label=berth.service=scheduler',
        '--format',
        '{{.ID}}',
      ]);
    const before = await scheduler();
    const following = cluster.tryBerth(['logs', '-f', 'ops_db.1'], { signal: AbortSignal.timeout(60_000) });
    await sleep(2_000);
    await cluster.berth(['down', 'ops', '--volumes']);
    await following.catch(() => undefined);
    await sleep(1_000);
    expect(await scheduler()).toBe(before);
    expect(await volumes()).toBe('');
  });
});

it('a host port that a program of the host holds is named, with a remedy', async () => {
  const script = "require('net').createServer().listen(18081, '0.0.0.0'); setTimeout(() => process.exit(), 15_000)";
  const holder = cluster.host.tryExec([process.execPath, '-e', script], { signal: AbortSignal.timeout(60_000) });
  await sleep(1_000);
  const path = cluster.compose(
    'opsport',
    "name: opsport\nservices:\n  db:\n    image: redis:7\n    ports: ['18081:6379']\n    restart: always\n",
  );
  const { code, stdout, stderr } = await cluster.tryBerth(['up', '-f', path, '--timeout', '8s']);
  expect(code).toBe(3);
  expect(`${stdout}${stderr}`).toMatch(/host port 0\.0\.0\.0:18081 is held by something else on this host/u);
  await cluster.berth(['down', 'opsport']);
  await holder;
});
