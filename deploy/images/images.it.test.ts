import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildImages, imageReferences, removeImages } from './build.ts';
import { checkout } from './context.ts';
import { imageTemplate } from './template.ts';

let lab: Lab;
let host: Host;
const images = ['berth/nats', 'berth/guestbook', 'redis:7', 'busybox'];

beforeAll(async () => {
  lab = await createLab();
  const [first] = lab.hosts;
  if (!first) throw new Error('no host');
  host = first;
});

afterAll(() => lab.down());

test('images are made of Debian packages with no registry, and only when their inputs change', async () => {
  const build = () => buildImages({ images, dockerHost: host.dockerHost, source: 'debian' });
  const first = await build();
  expect(first.map(({ built }) => built)).toEqual(images.map(() => true));
  expect((await build()).map(({ built }) => built)).toEqual(images.map(() => false));
  expect(await imageReferences(images, 'debian')).toEqual(first.map(({ reference }) => reference));

  const input = join(checkout, 'examples/guestbook/web/healthcheck.ts');
  const source = readFileSync(input, 'utf8');
  try {
    writeFileSync(input, `${source}\n// changed\n`);
    expect((await build()).map(({ built }) => built)).toEqual([false, true, false, false]);
  } finally {
    writeFileSync(input, source);
  }
  const own = await host.docker(['image', 'ls', '--format', '{{.Repository}}:{{.Tag}}', 'berth/guestbook']);
  expect(own.trim().split('\n').length).toBe(2);
});

test('the guestbook stores in a redis that it finds by name, as any Compose file would run it', async () => {
  await host.docker(['network', 'create', 'guestbook']);
  await host.docker(['run', '-d', '--name', 'redis', '--network', 'guestbook', 'redis:7', '--appendonly', 'yes']);
  await host.docker(['run', '-d', '--name', 'web', '--network', 'guestbook', '-p', '8080:3000', 'berth/guestbook:dev']);
  const url = `http://${host.address}:8080`;
  const curl = (...args: string[]) => lab.client.exec(['curl', '-sS', '--retry', '20', '--retry-all-errors', ...args]);
  expect(await curl('--retry-delay', '1', '-f', `${url}/healthz`)).toBe('PONG\n');
  await curl('-d', 'message=hello <world>', `${url}/messages`);
  expect(await curl(url)).toContain('<li>hello &lt;world></li>');
  expect(JSON.parse(await curl('-H', 'accept: application/json', url))).toMatchObject({ messages: ['hello <world>'] });
  await host.docker(['exec', 'web', 'node', '/app/healthcheck.ts']);
  expect(await host.docker(['logs', 'web'])).toContain(`${lab.client.address} POST /messages`);
  await host.docker(['rm', '--force', '--volumes', 'web', 'redis']);
});

test('an image of the user with the name of a stand-in is left alone', async () => {
  await host.docker(['image', 'rm', 'redis:7']);
  await host.docker(['run', '--name', 'own', 'busybox', 'true']);
  await host.exec(['sh', '-c', 'docker export own | docker import - redis:7']);
  await host.docker(['rm', 'own']);
  const before = await host.docker(['image', 'inspect', '--format', '{{.Id}}', 'redis:7']);
  await buildImages({ images: ['redis:7'], dockerHost: host.dockerHost, source: 'debian' });
  expect(await host.docker(['image', 'inspect', '--format', '{{.Id}}', 'redis:7'])).toBe(before);
});

test('a template gives hosts the images at once', async () => {
  const folder = await imageTemplate(['busybox']);
  const other = await createLab({ template: folder });
  try {
    expect(await other.hosts[0]?.docker(['run', '--rm', 'busybox', 'echo', 'runs'])).toBe('runs\n');
    expect(await imageTemplate(['busybox'])).toBe(folder);
  } finally {
    await other.down();
  }
});

test('an app that is not there fails with its name', async () => {
  await expect(buildImages({ images: ['berth/none'], dockerHost: host.dockerHost })).rejects.toThrow('berth/none');
});

test('removing takes all images made here and no other', async () => {
  await removeImages(host.dockerHost);
  expect(await host.docker(['image', 'ls', '--format', '{{.Repository}}:{{.Tag}}'])).toBe('redis:7\n');
});
