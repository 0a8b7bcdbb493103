import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageTemplate } from '@berth/deploy/images';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { images, retry } from '../cluster.ts';

const root = join(import.meta.dirname, '../../..');

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
