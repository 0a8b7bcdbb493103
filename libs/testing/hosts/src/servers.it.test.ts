import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { EtcdServer } from './etcd.ts';
import { startEtcd } from './etcd.ts';
import { execute, run } from './exec.ts';
import { startNats } from './nats.ts';
import { processStartTime } from './owned-directory.ts';
import type { ServerProcess } from './server-process.ts';
import { sweepCrashed } from './sweep.ts';

const started: ServerProcess[] = [];
afterEach(async () => {
  for (const server of started.splice(0)) await server.stop();
});

async function keep<T extends ServerProcess>(server: Promise<T>): Promise<T> {
  const result = await server;
  started.push(result);
  return result;
}

const etcdctl = (etcd: EtcdServer, ...args: string[]) =>
  execute(['etcdctl', '--endpoints', etcd.endpoint, '--command-timeout', '1s', ...args], {
    env: { ETCDCTL_API: '3' },
  });

test('etcd keeps what it acknowledged over kill -9 and leaves nothing behind', async () => {
  const etcd = await keep(startEtcd());
  const pid = etcd.pid;
  expect((await etcdctl(etcd, 'put', 'a', '1')).stdout).toBe('OK\n');
  await etcd.restart();
  expect(etcd.pid).not.toBe(pid);
  expect((await etcdctl(etcd, 'get', '--print-value-only', 'a')).stdout).toBe('1\n');
  const last = etcd.pid;
  await etcd.stop();
  expect(existsSync(etcd.directory)).toBe(false);
  expect(existsSync(`/proc/${last}`)).toBe(false);
});

test('a paused etcd answers nothing until it is resumed', async () => {
  const etcd = await keep(startEtcd());
  etcd.pause();
  expect((await etcdctl(etcd, 'put', 'a', '1')).code).not.toBe(0);
  etcd.resume();
  expect((await etcdctl(etcd, 'put', 'a', '2')).code).toBe(0);
});

test('a dropped server falls silent: an open connection gets neither data nor a reset, and goes on after heal', async () => {
  const nats = await keep(startNats({ isolated: true }));
  const events: string[] = [];
  const socket = connect({ host: nats.address, port: nats.port });
  socket.on('data', () => events.push('data'));
  for (const event of ['error', 'close', 'end']) socket.on(event, () => events.push(event));
  await sleep(200);
  expect(events).toContain('data');
  await nats.drop();
  events.length = 0;
  socket.write('PING\r\n');
  await sleep(400);
  expect(events).toEqual([]);
  await nats.heal();
  const deadline = performance.now() + 5_000;
  while (events.length === 0 && performance.now() < deadline) await sleep(20);
  expect(events[0]).toBe('data');
  socket.destroy();
  const link = nats.link?.name ?? '';
  expect(await run(['ip', 'netns'])).toContain(link);
  await nats.stop();
  expect(await run(['ip', '-o', 'link'])).not.toContain(`${link}@`);
  expect(await run(['ip', 'netns'])).not.toMatch(new RegExp(`^${link}\\b`, 'm'));
});

test('nats reads a changed configuration without a restart', async () => {
  const nats = await keep(startNats());
  const pid = nats.pid;
  nats.reload('authorization { user: u, password: p }');
  await sleep(300);
  const greeting = await new Promise<string>((resolve, reject) => {
    const socket = connect({ host: nats.address, port: nats.port });
    socket.once('data', (data) => {
      socket.destroy();
      resolve(data.toString());
    });
    socket.once('error', reject);
  });
  expect(greeting).toContain('"auth_required":true');
  expect(nats.pid).toBe(pid);
});

test('what a crashed run left is swept at the next start, what a live run has stays', async () => {
  const alive = await keep(startNats({ isolated: true }));
  const script = `
    const { startNats } = await import(${JSON.stringify(new URL('nats.ts', import.meta.url).href)});
    const nats = await startNats({ isolated: true });
    console.log(JSON.stringify({ directory: nats.directory, link: nats.link.name, pid: nats.pid }));
    process.kill(process.pid, 'SIGKILL');`;
  const crashed = await execute([process.execPath, '--input-type=module', '-e', script]);
  const left = JSON.parse(crashed.stdout) as { directory: string; link: string; pid: number };
  expect(existsSync(left.directory)).toBe(true);
  await sweepCrashed();
  expect(existsSync(left.directory)).toBe(false);
  expect(await run(['ip', '-o', 'link'])).not.toContain(`${left.link}@`);
  expect(processStartTime(left.pid)).toBeUndefined();
  expect(existsSync(alive.directory)).toBe(true);
  expect(await run(['ip', '-o', 'link'])).toContain(`${alive.link?.name}@`);
});
