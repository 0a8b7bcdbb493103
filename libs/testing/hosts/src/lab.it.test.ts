import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { execute, run } from './exec.ts';
import type { Host } from './host.ts';
import type { Lab } from './lab.ts';
import { createLab, saveTemplate } from './lab.ts';
import { createOwnedDirectory, processStartTime, removeOwnedDirectory } from './owned-directory.ts';

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await createLab();
  const [first] = lab.hosts;
  if (!first) throw new Error('a lab has one host unless told otherwise');
  host = first;
  await importImage(host);
}, 60_000);

afterAll(() => lab.down());

/** An image out of programs of this machine: a shell, sleep and the libraries that these need. */
async function importImage(target: Host): Promise<void> {
  const files = ['/bin/sh', '/bin/sleep', '/lib64/ld-linux-x86-64.so.2', '/lib/x86_64-linux-gnu/libc.so.6'];
  await run(['sh', '-c', `tar -chf - ${files.join(' ')} | docker -H ${target.dockerHost} import - test/shell`]);
}

/** Everything of a lab that the machine could still have: by its name, and by processes that use its directory. */
async function traces(dir: string): Promise<string[]> {
  const id = dir.slice(dir.lastIndexOf('/') + 1);
  const found: string[] = [];
  const search = (what: string, text: string): void => {
    if (text.includes(id)) found.push(what);
  };
  search('network namespaces', await run(['ip', 'netns']));
  search('mounts', readFileSync('/proc/self/mountinfo', 'utf8'));
  search('devices', await run(['ip', '-o', 'link']));
  search('control groups', await run(['find', '/sys/fs/cgroup', '-type', 'd', '-name', '*berth*']));
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const { stdout } = await execute(['cat', `/proc/${pid}/cmdline`, `/proc/${pid}/cgroup`]);
    if (stdout.includes(id) && processStartTime(Number(pid)) !== undefined) found.push(`process ${pid}: ${stdout}`);
  }
  if (existsSync(dir)) found.push('directory');
  return found;
}

async function until(condition: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not so within ${timeoutMs} ms`);
    await sleep(50);
  }
}

/** Listens at each port and says its number to whoever connects. */
const echo = `const [address, ...ports] = process.argv.slice(1);
for (const port of ports) require('node:net').createServer((c) => c.end(port)).listen(Number(port), address);`;

test('a host has its own name, addresses, engine and processes, and no way out', async () => {
  expect(await host.exec(['hostname'])).toBe('h1\n');
  expect(await host.exec(['ip', '-o', '-4', 'addr', 'show', 'dev', 'eth0'])).toContain(`${host.address}/24`);
  expect(await host.exec(['ip', 'route', 'show', 'default'])).toBe('');
  expect(await host.exec(['cat'], { stdin: 'said', env: { A: 'b' } })).toBe('said');
  expect(await host.exec(['sh', '-c', 'echo $A'], { env: { A: 'b' } })).toBe('b\n');
  expect((await lab.client.tryExec(['ping', '-c1', '-W2', host.address])).code).toBe(0);
  expect(await host.docker(['info', '--format', '{{.Driver}}'])).toBe('overlay2\n');
  await host.exec(['sh', '-c', 'mkdir -p /var/lib/only-here && touch /etc/only-here']);
  expect(existsSync('/var/lib/only-here') || existsSync('/etc/only-here')).toBe(false);
});

test('a power-off ends all of a host, its disk lives on', async () => {
  await host.docker(['run', '--detach', '--name', 'sleeper', '--restart', 'always', 'test/shell', '/bin/sleep', '600']);
  await host.exec(['sh', '-c', 'echo kept > /var/lib/kept']);
  const container = Number(await host.docker(['inspect', '--format', '{{.State.Pid}}', 'sleeper']));
  const init = host.initPid ?? 0;
  const processes = [init, ...(await pidsBelow(host))];
  expect(processes.length).toBeGreaterThan(3);
  // What is paused takes no signal until it is thawed, where the engine froze it.
  await host.docker(['run', '--detach', '--name', 'paused', 'test/shell', '/bin/sleep', '600']);
  await host.docker(['pause', 'paused']);
  await host.kill();
  expect(processes.map(processStartTime)).toEqual(processes.map(() => undefined));
  expect(container).toBeGreaterThan(1);
  expect(await run(['ip', 'netns'])).not.toContain(host.netns);
  await host.start();
  expect(await host.exec(['cat', '/var/lib/kept'])).toBe('kept\n');
  await until(async () => (await host.docker(['ps', '--format', '{{.Names}}'])).includes('sleeper'), 10_000);
  await host.docker(['rm', '--force', 'sleeper', 'paused']);
});

/** Pids, as the machine knows them, of all processes in the host's control groups. */
async function pidsBelow(target: Host): Promise<number[]> {
  const group = `berth-${lab.dir.slice(lab.dir.lastIndexOf('/') + 1)}/${target.name}`;
  const trees = ['/sys/fs/cgroup/memory', '/sys/fs/cgroup'].map((tree) => join(tree, group)).filter(existsSync);
  const files = await run(['find', ...trees, '-name', 'cgroup.procs']);
  const pids = files
    .trim()
    .split('\n')
    .map((file) => readFileSync(file, 'utf8'));
  return pids
    .flatMap((text) => text.trim().split('\n'))
    .filter(Boolean)
    .map(Number);
}

test('cables: one way, one pair, one port of a pair; undone at once', async () => {
  const other = await lab.addHost({ name: 'h2' });
  const pings = async (from: Host, to: Host) => (await from.tryExec(['ping', '-c1', '-W1', to.address])).code === 0;
  const serve = host.spawn([process.execPath, '-e', echo, host.address, '7411', '7412'], { stdio: 'ignore' });
  const says = async (port: number) =>
    (await other.tryExec(['timeout', '1', 'bash', '-c', `cat </dev/tcp/${host.address}/${port}`])).stdout;
  await until(async () => (await says(7411)) === '7411' && (await says(7412)) === '7412', 10_000);
  // One way: what is asked arrives, and its answer does not.
  const counted = async () => Number(await host.exec(['cat', '/sys/class/net/eth0/statistics/rx_packets']));
  await lab.partitionOneWay(host, 'from');
  const before = await counted();
  expect(await pings(other, host)).toBe(false);
  expect(await counted()).toBeGreaterThan(before);
  expect(lab.faults).toEqual(['from h1 nothing arrives']);
  await lab.heal(host);
  await until(() => pings(other, host), 5_000);
  // A pair, one way; the third is reached.
  await lab.cut(other, host, { oneWay: true });
  expect(await pings(other, host)).toBe(false);
  expect((await lab.client.tryExec(['ping', '-c1', '-W1', host.address])).code).toBe(0);
  await lab.mend(host, other);
  await until(() => pings(other, host), 5_000);
  // One port.
  await lab.cut(other, host, { port: 7411 });
  await until(async () => (await says(7412)) === '7412', 5_000);
  expect(await says(7411)).toBe('');
  await lab.mend(other, host);
  await until(async () => (await says(7411)) === '7411', 5_000);
  expect(lab.faults).toEqual([]);
  serve.kill('SIGKILL');
  // Taken away, it is no host of the lab; its number is not given again.
  await lab.removeHost(other);
  expect([lab.hosts, existsSync(other.dir)]).toEqual([[host], false]);
  const next = await lab.addHost();
  expect(next.name).toBe('h3');
  await lab.removeHost(next);
}, 60_000);

test('a container hangs and its engine does not know', async () => {
  await host.docker(['run', '--detach', '--name', 'hung', 'test/shell', '/bin/sleep', '600']);
  const state = async () => {
    const pid = (await host.docker(['inspect', '--format', '{{.State.Pid}}', 'hung'])).trim();
    return (await host.exec(['ps', '-o', 'stat=', '-p', pid])).trim().slice(0, 1);
  };
  await host.freezeContainer('hung');
  await until(async () => (await state()) === 'T', 5_000);
  expect((await host.docker(['inspect', '--format', '{{.State.Status}}', 'hung'])).trim()).toBe('running');
  await host.thawContainer('hung');
  await until(async () => (await state()) === 'S', 5_000);
  await host.docker(['rm', '--force', 'hung']);
});

test('faults: partition, freeze, an engine that crashes', async () => {
  const reaches = async () => (await lab.client.tryExec(['ping', '-c1', '-W1', host.address])).code === 0;
  await lab.partition(host);
  expect(await reaches()).toBe(false);
  await lab.heal(host);
  await until(reaches, 5_000);

  host.freeze();
  expect(await reaches()).toBe(true);
  expect(
    (await execute(['curl', '-s', '--max-time', '1', '--unix-socket', host.socket, 'http://d/_ping'])).code,
  ).not.toBe(0);
  host.thaw();
  expect(
    (await execute(['curl', '-s', '--max-time', '5', '--unix-socket', host.socket, 'http://d/_ping'])).stdout,
  ).toBe('OK');

  await host.killEngine();
  expect(
    (await execute(['curl', '-s', '--max-time', '1', '--unix-socket', host.socket, 'http://d/_ping'])).code,
  ).not.toBe(0);
  await host.startEngine();
  expect(await host.docker(['images', '--quiet', 'test/shell'])).not.toBe('');
});

test('hosts of another lab start with the images of a template, beside this one, and go without a trace', async () => {
  const folder = createOwnedDirectory('template');
  await saveTemplate(host, folder.path);
  const other = await createLab({ hosts: 2, template: folder.path });
  try {
    const [a, b] = other.hosts;
    for (const each of other.hosts) {
      expect(await each.docker(['run', '--rm', 'test/shell', '/bin/sh', '-c', 'echo runs'])).toBe('runs\n');
    }
    expect((await a?.tryExec(['ping', '-c1', '-W2', b?.address ?? '']))?.code).toBe(0);
    expect(await traces(other.dir)).not.toEqual([]);
  } finally {
    await other.down();
    removeOwnedDirectory(folder);
  }
  expect(await traces(other.dir)).toEqual([]);
  await other.down();
});

test('a run that crashes leaves nothing: its hosts die with it, its guard clears the rest', async () => {
  const script = `
    const { createLab } = await import(${JSON.stringify(new URL('lab.ts', import.meta.url).href)});
    const lab = await createLab();
    console.log(JSON.stringify({ dir: lab.dir, init: lab.hosts[0].initPid }));
    process.kill(process.pid, 'SIGKILL');`;
  const crashed = await execute([process.execPath, '--input-type=module', '-e', script]);
  const left = JSON.parse(crashed.stdout) as { dir: string; init: number };
  await until(async () => processStartTime(left.init) === undefined, 2_000);
  await until(async () => (await traces(left.dir)).length === 0, 10_000);
  expect(host.initPid).toBeDefined();
  expect(existsSync(lab.dir)).toBe(true);
});
