import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageTemplate } from '@berth/deploy/images';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';
import { Judge } from '@berth/testing-judge';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { haCluster, images, retry } from '../cluster.ts';

const root = join(import.meta.dirname, '../../..');
const text = `
name: growing
services:
  web:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { replicas: 12 }
  everywhere:
    image: busybox:latest
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;

describe('a fourth host joins while a deployment runs', () => {
  let cluster: Cluster;
  let fourth: Host;
  let judge: Judge;

  beforeAll(async () => {
    cluster = await haCluster();
    judge = new Judge(cluster);
    fourth = await cluster.addHost();
  });
  // The cluster is others' too.
  afterAll(async () => {
    await cluster.tryBerth(['down', 'growing']);
    await cluster.tryBerth(['node', 'rm', fourth.name, '--force']);
    await retry(30_000, async () => {
      if ((await fourth.docker(['ps', '-aq'])) !== '') throw new Error('something of Berth is left');
    });
  });

  it('the global service comes to it', async () => {
    const up = cluster.berth(['up', '-f', cluster.compose('growing', text)]);
    const nodeId = await cluster.join(fourth);
    await up;
    judge.promised(text);
    await judge.holds();
    const tasks = await retry(30_000, async () => {
      const here = await fourth.docker(['ps', '--filter', 'label=berth.service=everywhere', '--format', '{{.ID}}']);
      if (here.trim() === '') throw new Error('no task of the global service');
      return here.trim().split('\n');
    });
    expect(tasks.length).toBe(1);
    expect(nodeId).not.toBe('');
  });

  it('its token is in no argument and no environment, and its file is gone', async () => {
    const inspected = await fourth.docker(['inspect', 'berth-agent']);
    expect(inspected).not.toContain('BRTHTKN');
    expect((await fourth.tryExec(['ls', '/var/lib/berth/join'])).code).not.toBe(0);
  });

  it('a line whose token was rotated away ends with a clear word', async () => {
    const { line } = await cluster.json<{ line: string }>(['cluster', 'token', '--ttl', '1m']);
    await cluster.berth(['cluster', 'token', '--rotate']);
    const fifth = await cluster.addHost();
    await fifth.exec(['sh', '-c', line]);
    await retry(30_000, async () => {
      // Docker starts it again and again, and each life says it once.
      const state = await fifth.docker(['inspect', '--format', '{{.RestartCount}} {{.State.ExitCode}}', 'berth-agent']);
      const log = await fifth.tryExec(['docker', 'logs', 'berth-agent']);
      expect(`${log.stdout}${log.stderr}`).toContain('take a new one from `berth cluster token`');
      expect(state).toMatch(/^[1-9]\d* 1/u);
    });
    await fifth.docker(['rm', '--force', 'berth-agent']);
    await fifth.exec(['rm', '-rf', '/var/lib/berth']);
  });
});

/** The README's section of this heading: prose and blocks of shell, in order. */
function section(heading: string): string {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  return readme.split(/^## /mu).find((part) => part.startsWith(`${heading}\n`)) ?? '';
}

describe('the way of the README for two machines', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await createLab({ hosts: 2, template: await imageTemplate(images) });
  });
  afterAll(() => lab.down());

  it('is followed word for word', async () => {
    const [first, second] = lab.hosts;
    if (!first || !second) throw new Error('there are no two hosts');
    // The user's home, and the clone: what they write lies in the lab.
    const env = { BERTH_CONFIG_DIR: join(lab.dir, 'config'), NO_COLOR: '1' };
    const shell = (host: Host, script: string) =>
      host.exec(['bash', '-euo', 'pipefail', '-c', script], { cwd: root, env });
    const blocks = [...section('Several machines').matchAll(/```sh\n(.*?)```/gsu)].map((match) =>
      (match[1] ?? '')
        .replaceAll('192.0.2.11', first.address)
        .replaceAll('192.0.2.12', second.address)
        .replaceAll('agent.tar', join(lab.dir, 'agent.tar')),
    );
    expect(blocks.length).toBe(3);
    const [onFirst = '', onSecond = '', back = ''] = blocks;
    // A user waits a moment between starting the agent and what follows; a script does not.
    const printed = await shell(first, onFirst);
    const line = printed.trim().split('\n').at(-1) ?? '';
    expect(line).toMatch(/^mkdir -p .* docker run --detach .*berth\/host-agent:dev$/u);
    // It has an engine and nothing else.
    await second.docker(['image', 'prune', '--all', '--force']);
    expect(await second.docker(['image', 'ls', '--quiet'])).toBe('');
    await shell(second, onSecond);
    await second.exec(['sh', '-c', line]);
    await retry(30_000, async () => {
      const nodes = JSON.parse(await shell(first, 'npx berth node ls --output json')) as { status: string }[];
      expect(nodes.map(({ status }) => status)).toEqual(['ready', 'ready']);
    });
    const seen = await shell(first, back);
    expect(seen.match(/ready/gu)?.length).toBe(2);
    expect(seen).toMatch(/^web\.1 +guestbook .*running/mu);
    expect(existsSync(join(lab.dir, 'agent.tar'))).toBe(true);
    const container = await second.docker(['ps', '--format', '{{.Names}}']);
    expect(container).toContain('berth-agent');
    // Wherever it runs: a published port is open on its node.
    const answers = await Promise.all(
      [first, second].map((host) => lab.client.tryExec(['curl', '-sf', '-m', '5', `http://${host.address}:8080/`])),
    );
    expect(answers.some(({ code }) => code === 0)).toBe(true);
  });
});
