import { basename, join } from 'node:path';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkout } from '../images/context.ts';

// On a host of its own: the machine's rules, devices and sysctls have no part in it.
let lab: Lab;
let host: Host;
let place: string[];

beforeAll(async () => {
  lab = await createLab({ engine: false });
  const [first] = lab.hosts;
  if (!first) throw new Error('no host');
  host = first;
  // The host's /var/lib is an overlay, on which an engine can't put another.
  const group = `/berth-${basename(lab.dir)}/${host.name}/berth-dev`;
  place = [join(host.dir, 'berth-dev'), '/run/berth-dev', group];
  // The user's own: must be there afterwards, exactly so.
  await host.exec([
    'iptables',
    '-A',
    'INPUT',
    '-s',
    '192.0.2.1',
    '-m',
    'comment',
    '--comment',
    'the user',
    '-j',
    'DROP',
  ]);
  await host.exec(['ip', 'link', 'add', 'br-lan', 'type', 'bridge']);
});

afterAll(() => lab.down());

/** The engine under test has the usual socket, as a docker client expects it. */
const env = { DOCKER_HOST: 'unix:///var/run/docker.sock' };
const script = join(checkout, 'deploy/engine/main.ts');
const engine = async (command: 'start' | 'stop'): Promise<Record<string, unknown>> =>
  JSON.parse(await host.exec([process.execPath, script, command, ...place], { env })) as Record<string, unknown>;

const docker = (...args: string[]) => host.exec(['docker', ...args], { env });

/** An image out of programs of this machine. */
async function importImage(): Promise<void> {
  const files = '/bin/sh /bin/sleep /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6';
  await host.exec(['sh', '-c', `tar -chf - ${files} | docker import - test/shell`], { env });
}
const sleeper = ['test/shell', '/bin/sleep', '600'];

/** All of the host that an engine could change. */
async function state(): Promise<Record<string, string>> {
  const look = {
    rules: 'nft list ruleset',
    devices: "ip -o link | sed 's/^[0-9]*: //'",
    routes: 'ip route show table all',
    sysctls:
      'sysctl -a 2>/dev/null | grep -vE "random|entropy|nr_|_count|dentry|inode|file-nr|pty|ns_last_pid|netfilter.nf_log|perf_|fs.quota"',
    // Namespaces of other labs come and go.
    mounts: `cut -d' ' -f5- /proc/self/mountinfo | grep -v '^/run/netns/berth-lab-' | sed 's/shared:[0-9]*//' | sort`,
    processes: 'ps -eo args= | grep -E "dockerd|containerd|docker-proxy" | grep -v grep || true',
    folders: `find /run /etc/docker /var/lib -maxdepth 1 -not -name "*.lock"; ls -A ${host.dir}`,
    cgroups: `find /sys/fs/cgroup -type d -path '*${basename(lab.dir)}*' -name 'berth-dev*' -o -type d -name docker`,
  };
  const seen = Object.entries(look).map(async ([name, command]) => [name, await host.exec(['sh', '-c', command])]);
  return Object.fromEntries(await Promise.all(seen)) as Record<string, string>;
}

test('an engine of our own starts once, publishes on 127.0.0.1, and goes without a trace', async () => {
  const before = await state();
  const started = await engine('start');
  expect(started).toMatchObject({ own: true, dockerHost: 'unix:///var/run/docker.sock' });
  expect(await engine('start')).toEqual(started);
  await importImage();
  await docker('network', 'create', 'n');
  await docker('run', '-d', '--network', 'n', ...sleeper);
  // The engine's setting is for its own network only; to others it is given when they are made.
  await docker('run', '-d', '-p', '8080:80', '-v', 'volume:/data', '--restart', 'always', ...sleeper);
  const listening = await host.exec(['ss', '-Hltn', 'sport = :8080']);
  expect(listening.trim().split(/\s+/)[3]).toBe('127.0.0.1:8080');
  expect(await host.exec(['sysctl', '-n', 'net.ipv4.ip_forward'])).toBe('1\n');
  expect(await engine('stop')).toEqual({ stopped: true });
  expect(await state()).toEqual(before);
  expect(await engine('stop')).toEqual({ stopped: false });
});

test('an engine that crashed is started again on its data, and a crashed one is removed too', async () => {
  const before = await state();
  await engine('start');
  await importImage();
  await docker('run', '-d', '--name', 'sleeper', '--stop-timeout', '1', ...sleeper);
  const crash = ['sh', '-c', `kill -9 $(cat /run/berth-dev/dockerd.pid)`];
  await host.exec(crash);
  expect(await engine('start')).toMatchObject({ own: true });
  expect(await docker('ps', '-a', '--format', '{{.Names}}')).toBe('sleeper\n');
  await docker('start', 'sleeper');
  await docker('network', 'create', '--opt', 'com.docker.network.bridge.name=own', 'with-a-name');
  await docker('run', '-d', '--network', 'with-a-name', ...sleeper);
  await host.exec(crash);
  expect(await engine('stop')).toEqual({ stopped: true });
  expect(await state()).toEqual(before);
});

test('an engine that runs is used and left alone', async () => {
  await host.startEngine();
  expect(await engine('start')).toMatchObject({ own: false });
  expect(await engine('stop')).toEqual({ stopped: false });
  expect(await host.docker(['info', '--format', '{{.ServerVersion}}'])).toMatch(/^\d/);
});
