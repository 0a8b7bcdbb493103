import { setTimeout as sleep } from 'node:timers/promises';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab, run } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DockerCalls } from './docker-calls.ts';
import { DockerImages } from './docker-images.ts';
import { DockerReader } from './docker-reader.ts';

const never = new AbortController().signal;
let lab: Lab;
let host: Host;
let calls: DockerCalls;
let images: DockerImages;

beforeAll(async () => {
  lab = await createLab();
  host = lab.hosts[0]!;
  const files = '/bin/sh /bin/sleep /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6';
  await run(['sh', '-c', `tar -chf - ${files} | docker -H ${host.dockerHost} import - test/shell:1`]);
  calls = new DockerCalls({ socketPath: host.socket });
  images = new DockerImages(calls);
}, 60_000);
afterAll(() => lab.down());

async function saved(name: string): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of images.save(name, never)) chunks.push(chunk);
  return chunks;
}
async function* pieces(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
const tags = async () => (await host.docker(['images', '--format', '{{.Repository}}:{{.Tag}}'])).trim().split('\n');

test('an image goes out and comes back; one that is there says so', async () => {
  const archive = await saved('test/shell:1');
  const again = await images.load(pieces(archive), never);
  expect(again).toMatchObject([{ name: 'test/shell:1', present: true }]);
  await host.docker(['rmi', 'test/shell:1']);
  expect(await images.load(pieces(archive), never)).toEqual([{ ...again[0], present: false }]);
  // By id it has no name in the archive.
  const byId = await saved(again[0]!.id.slice('sha256:'.length, 20));
  expect(await images.load(pieces(byId), never)).toEqual([{ name: '', id: again[0]!.id, present: true }]);
});

test('what is no archive, or half of one, is refused and leaves no image', async () => {
  await host.docker(['tag', 'test/shell:1', 'test/half:1']);
  const archive = await saved('test/half:1');
  await host.docker(['rmi', 'test/half:1']);
  const before = await tags();
  await expect(images.load(pieces([Buffer.from('no archive at all')]), never)).rejects.toMatchObject({
    code: 'InvalidArgument',
    reason: 'BAD_ARCHIVE',
  });
  async function* half(): AsyncGenerator<Uint8Array> {
    yield* archive.slice(0, Math.ceil(archive.length / 2));
    throw new Error('cut off');
  }
  await expect(images.load(half(), never)).rejects.toThrow();
  expect(await tags()).toEqual(before);
});

test('a container that works is measured', async () => {
  const id = (
    await host.docker(['run', '-d', '--network', 'none', 'test/shell:1', '/bin/sh', '-c', 'while :; do :; done'])
  ).trim();
  const reader = new DockerReader(calls);
  const first = await reader.usage(id);
  await sleep(1_000);
  const second = await reader.usage(id);
  expect(second.cpuNs).toBeGreaterThan(first.cpuNs);
  expect(second).toMatchObject({ processes: 1, networkSentBytes: 0 });
  expect(second.memoryBytes).toBeGreaterThan(0);
  expect(second.memoryLimitBytes).toBeGreaterThan(second.memoryBytes);
  await host.docker(['rm', '-f', id]);
  await expect(reader.usage(id)).rejects.toMatchObject({ code: 'NotFound' });
});
