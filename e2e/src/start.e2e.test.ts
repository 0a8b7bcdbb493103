import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { imageTemplate, prefetchLayers } from '@berth/deploy/images';
import type { Lab } from '@berth/testing-hosts';
import { createLab, recordFigures } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { images } from './cluster.ts';
import { OwnMachine } from './own-machine.ts';

const url = 'http://127.0.0.1:8080/';

/** What a browser would do, as a process of the machine. */
const post = (machine: OwnMachine, message: string) =>
  machine.run(
    process.execPath,
    '-e',
    `
    const answer = await fetch('${url}messages', { method: 'POST', body: ${JSON.stringify(message)} });
    if (answer.status !== 201) throw new Error(answer.status + ' ' + await answer.text());`,
  );
const messages = async (machine: OwnMachine): Promise<string[]> => {
  const get = `console.log(await (await fetch('${url}', { headers: { accept: 'application/json' } })).text())`;
  return (JSON.parse(await machine.run(process.execPath, '-e', get)) as { messages: string[] }).messages;
};
const container = async (machine: OwnMachine, service: string): Promise<string> =>
  (await machine.run('docker', 'ps', '-q', '--filter', `label=berth.service=${service}`)).trim();
const seconds = (since: number): number => Math.round((performance.now() - since) / 100) / 10;

describe('on a machine without an engine', () => {
  let machine: OwnMachine;
  let before: Record<string, string>;
  let lab: Lab;

  beforeAll(async () => {
    await prefetchLayers();
    // For the labs on it.
    await imageTemplate(images);
    lab = await createLab({ hosts: 1, engine: false });
    machine = await OwnMachine.of(lab);
    before = await machine.state();
  });
  afterAll(() => lab?.down());

  it('npm start says which port is taken, and begins nothing', async () => {
    const listener = "require('net').createServer().listen(8080, '127.0.0.1', () => console.log('ready'))";
    const other = machine.host.spawn([process.execPath, '-e', listener], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(other.stdout as Readable, 'data');
    try {
      // npm itself may have warnings about the user's settings first.
      const { code, stderr } = await machine.tryRun('npm', 'start');
      expect(stderr).toMatch(/^Another program listens on 127\.0\.0\.1, port 8080, where Berth would\.$/mu);
      expect(code).toBe(1);
      // What goes on running is seen, or nobody would know of one that `npm stop` forgot.
      expect((await machine.state())['processes']).toContain('createServer()');
    } finally {
      other.kill('SIGKILL');
      await once(other, 'close');
    }
    expect(await machine.state()).toEqual(before);
  });

  it('npm start brings up a guestbook that answers and keeps what it is told', async ({ task }) => {
    const started = performance.now();
    expect(await machine.run('npm', 'start')).toContain(url);
    recordFigures(task, { 'first npm start, packages cached, s': seconds(started) });
    await post(machine, 'hello from the test');
    expect(await messages(machine)).toEqual(['hello from the test']);
    const redis = await container(machine, 'redis');
    const kept = await machine.run('docker', 'exec', redis, 'redis-cli', 'lrange', 'messages', '0', '-1');
    expect(kept.trim()).toBe('hello from the test');
    // By its name, and by nothing that the container was told otherwise.
    const web = await container(machine, 'web');
    const [address] = (await machine.run('docker', 'exec', web, 'getent', 'hosts', 'redis')).split(/\s+/);
    const own = await machine.run(
      'docker',
      'inspect',
      '--format',
      '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}',
      redis,
    );
    expect(address).toBe(own.trim());
  });

  it('nothing listens beyond 127.0.0.1 but DNS on the bridges of tasks', async () => {
    const sockets = (await machine.shell('ss -Hltnup'))
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/));
    expect(sockets.length).toBeGreaterThan(10);
    const gateways = await machine.shell("ip -o -4 addr | grep -E ' bt[^ ]+ ' | sed 's/.* inet //; s,/.*,,'");
    const allowed = [/^127\.\d+\.\d+\.\d+:\d+$/, /^\[::1\]:\d+$/];
    const open = sockets
      .map(([protocol, state, , , local = '', , process]) => ({ protocol, state, local, process }))
      .filter(({ local }) => !allowed.some((pattern) => pattern.test(local)))
      .filter(
        ({ local }) =>
          !gateways
            .trim()
            .split('\n')
            .some((gateway) => local === `${gateway}:53`),
      );
    expect(open).toEqual([]);
  });

  it('npm start again is quick and leaves every container as it is', async ({ task }) => {
    const containers = (await machine.state())['starts'];
    const started = performance.now();
    await machine.run('npm', 'start');
    recordFigures(task, { 'second npm start, s': seconds(started) });
    expect((await machine.state())['starts']).toBe(containers);
    expect(await messages(machine)).toEqual(['hello from the test']);
  });

  it.runIf(process.env['BERTH_FULL'])('two labs beside it touch nothing of it, nor it them', async () => {
    const alone = await machine.state();
    const command = (...args: string[]) => machine.run('npm', 'run', '-s', 'lab', '--', ...args);
    const names = ['one', 'two'];
    for (const name of names) await command('up', '--bare', '--hosts', '1', '--name', name);
    const theirs = ['containers', 'starts', 'engineNetworks', 'volumes', 'images', 'devices', 'addresses', 'routes'];
    const rules = ['rules', 'nftables', 'iptables', 'sysctls'];
    const beside = await machine.state();
    for (const part of [...theirs, ...rules]) expect(beside[part], part).toBe(alone[part]);
    expect(await messages(machine)).toEqual(['hello from the test']);
    for (const name of names) {
      expect(await command('exec', '--name', name, 'h1', 'docker', 'ps', '-aq')).toBe('');
      await command('down', '--name', name);
    }
    expect(await machine.state()).toEqual(alone);
  });

  it('npm stop leaves the machine as it was, and may be repeated', async ({ task }) => {
    const started = performance.now();
    await machine.run('npm', 'run', 'stop');
    recordFigures(task, { 'npm stop, s': seconds(started) });
    expect(await machine.state()).toEqual(before);
    await machine.run('npm', 'run', 'stop');
    expect(await machine.state()).toEqual(before);
  });
});

describe('on a machine whose user runs an engine', () => {
  let machine: OwnMachine;
  let before: Record<string, string>;
  let lab: Lab;

  beforeAll(async () => {
    lab = await createLab({ hosts: 1, template: await imageTemplate(images) });
    machine = await OwnMachine.of(lab);
    // All kinds of things that npm stop removes of its own, here of somebody else.
    await machine.shell(`set -e
      tar -chf - /bin/sh /bin/sleep /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6 |
        docker import - the/users-own >/dev/null
      docker network create --label berth.cluster=another theirs >/dev/null
      docker volume create --label berth.cluster=another theirs >/dev/null
      docker run -d --name theirs --label berth.cluster=another --network theirs -v theirs:/data -p 127.0.0.1:8099:80 \\
        the/users-own /bin/sleep 100000 >/dev/null
      nft add table inet berth-another
      nft 'add chain inet berth-another input { type filter hook input priority 0; }'
      nft add rule inet berth-another input ip saddr 192.0.2.1 drop
      iptables -I DOCKER-USER -i theirs0 -o theirs1 -m comment --comment 'berth another' -j ACCEPT
      mkdir -p "$HOME/.config/berth/contexts/work" && echo work >"$HOME/.config/berth/current"
      echo '{"clusterId":"another","registries":["192.0.2.1:7401"]}' >"$HOME/.config/berth/contexts/work/context.json"`);
    before = await machine.state();
  });
  afterAll(() => lab?.down());

  it('npm start uses it, and npm stop takes away only its own', async () => {
    await machine.run('npm', 'start');
    await post(machine, 'on your engine');
    expect(await messages(machine)).toEqual(['on your engine']);
    const theirs = before['starts']?.trim() ?? '';
    expect(theirs).toMatch(/^[0-9a-f]{64} 20\S+ 0$/);
    expect((await machine.state())['starts']).toContain(theirs);
    await machine.run('npm', 'run', 'stop');
    expect(await machine.state()).toEqual(before);
  });
});
