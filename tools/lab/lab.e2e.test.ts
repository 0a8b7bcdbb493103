import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecResult, NamedLab } from '@berth/testing-hosts';
import { execute, isRunning, namedLabs, run } from '@berth/testing-hosts';
import { afterAll, expect, test } from 'vitest';

const main = join(import.meta.dirname, 'main.ts');
const names = [`a-${process.pid}`, `b-${process.pid}`] as const;

const tryLab = (...args: string[]): Promise<ExecResult> => execute([process.execPath, main, ...args]);
const lab = (...args: string[]): Promise<string> => run([process.execPath, main, ...args]);
const found = (name: string): NamedLab | undefined => namedLabs().find((each) => each.name === name);

afterAll(async () => {
  for (const name of names) if (found(name)) await lab('down', '--name', name);
});

/** What the machine holds of a lab. */
async function traces(dir: string): Promise<string[]> {
  const id = basename(dir);
  const lists = [
    await run(['ip', 'netns']),
    await run(['ip', '-o', 'link']),
    readFileSync('/proc/self/mountinfo', 'utf8'),
  ];
  const groups = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `*${id}*`]).toString();
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });
  const all = [...lists, groups, ...processes].filter((text) => text.includes(id));
  return existsSync(dir) ? [...all, dir] : all;
}

test('two labs side by side live on by themselves; faults, power, and nothing is left', async () => {
  const [a, b] = names;
  await Promise.all(names.map((name) => lab('up', '--bare', '--hosts', '1', '--name', name)));
  expect(await tryLab('up', '--bare', '--name', a)).toMatchObject({ code: 2 });
  const [first, second] = [found(a), found(b)];
  if (!first || !second) throw new Error('there are no two labs');
  const listed = await lab('ls');
  for (const name of names) expect(listed).toContain(name);
  // The engines are not each other's, and know the images of a cluster.
  await lab('exec', '--name', a, 'h1', 'docker', 'tag', 'berth/host-agent:dev', 'only/here:1');
  expect(await lab('exec', '--name', a, 'h1', 'docker', 'images')).toContain('only/here');
  expect(await lab('exec', '--name', b, 'h1', 'docker', 'images')).not.toContain('only/here');
  // A command's own exit code, options and folder.
  expect(await tryLab('exec', '--name', a, 'h1', '--', 'sh', '-c', 'hostname; exit 7')).toMatchObject({
    code: 7,
    stdout: 'h1\n',
  });
  const ping = async (name: string) =>
    (await tryLab('client', '--name', name, 'ping', '-c1', '-W1', '198.18.0.11')).code;
  // Power keeps the disk; a cut cable of one lab is none of the other's.
  await lab('exec', '--name', a, 'h1', 'sh', '-c', 'echo kept >/var/lib/kept');
  expect(await lab('kill', 'h1', '--name', a)).toContain('off');
  expect((await tryLab('exec', '--name', a, 'h1', 'true')).stdout).not.toContain('kept');
  expect(await lab('start', 'h1', '--name', a)).not.toContain('off');
  expect(await lab('exec', '--name', a, 'h1', 'cat', '/var/lib/kept')).toBe('kept\n');
  expect(await lab('partition', 'h1', '--one-way', 'to', '--name', a)).toContain('to h1 nothing arrives');
  expect([await ping(a), await ping(b)]).toEqual([1, 0]);
  expect(await lab('heal', 'h1', '--name', a)).not.toContain('nothing arrives');
  expect(await lab('cut', 'client', 'h1', '--port', '7411', '--name', a)).toContain(
    'client ↔ h1 cut for TCP port 7411',
  );
  await lab('mend', 'client', 'h1', '--name', a);
  expect(await tryLab('kill', 'h9', '--name', a)).toMatchObject({ code: 1, stderr: 'no host h9; there are h1\n' });
  expect(await tryLab('exec', '--name', 'none', 'h1')).toMatchObject({ code: 1 });
  // One goes in order, the other's keeper is killed.
  await lab('down', '--name', a);
  expect(await traces(first.dir)).toEqual([]);
  expect(await ping(b)).toBe(0);
  process.kill(second.owner.pid, 'SIGKILL');
  for (let waited = 0; existsSync(second.dir) && waited < 20_000; waited += 100) await sleep(100);
  expect(isRunning(second.owner)).toBe(false);
  expect(await traces(second.dir)).toEqual([]);
}, 180_000);
