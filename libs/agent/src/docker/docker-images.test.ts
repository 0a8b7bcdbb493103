import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BerthError } from '@berth/kernel';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DockerCalls } from './docker-calls.ts';
import { DockerImages, loadedNames } from './docker-images.ts';
import { DockerReader } from './docker-reader.ts';

/** An engine that answers what the test says. What a real one does with archives: docker-images.it.test.ts. */
let folder: string;
let server: Server;
let answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void>;
let calls: DockerCalls;
let images: DockerImages;
const signal = new AbortController().signal;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-images-'));
  answers = { 'GET /images/json': (_request, response) => json(response, 200, []) };
  server = createServer((request, response) => {
    const path = `${request.method} ${(request.url ?? '').split('?')[0]}`;
    const answer = answers[path];
    if (answer) answer(request, response);
    else json(response, 404, { message: `no answer to ${path}` });
  });
  const socketPath = join(folder, 'engine.sock');
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  calls = new DockerCalls({ socketPath });
  images = new DockerImages(calls);
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

it('sends an archive at the pace of the engine', async () => {
  const resume: (() => void)[] = [];
  answers['POST /images/load'] = (request, response) => {
    request.pause();
    resume.push(() => {
      request.resume();
      request.on('end', () => response.end('{"stream":"Loaded image: a:1\\n"}\n'));
    });
  };
  answers['GET /images/a:1/json'] = (_request, response) => json(response, 200, { Id: 'sha256:1' });
  let sent = 0;
  async function* archive() {
    for (; sent < 500; sent += 1) yield Buffer.alloc(100_000);
  }
  const loading = images.load(archive(), signal);
  await expect.poll(() => resume.length).toBe(1);
  await sleep(300);
  expect(sent).toBeLessThan(50);
  for (const go of resume) go();
  expect(await loading).toEqual([{ name: 'a:1', id: 'sha256:1', present: false }]);
  expect(sent).toBe(500);
});

it('knows what was there before, by name and by id', async () => {
  answers['GET /images/json'] = (_request, response) =>
    json(response, 200, [
      { Id: 'sha256:1', RepoTags: ['a:1'] },
      { Id: 'sha256:2', RepoTags: null },
      { Id: 'sha256:3', RepoTags: ['c:1'] },
    ]);
  answers['POST /images/load'] = (request, response) => {
    request.resume();
    const lines = ['Loaded image: a:1\\n', 'Loaded image ID: sha256:2\\n', 'Loaded image: c:1\\n'];
    response.end(lines.map((line) => `{"stream":"${line}"}\n`).join(''));
  };
  const idOf = (name: string, id: string) => {
    answers[`GET /images/${name}/json`] = (_request, response) => json(response, 200, { Id: id });
  };
  idOf('a:1', 'sha256:1');
  idOf('sha256:2', 'sha256:2');
  idOf('c:1', 'sha256:4');
  async function* archive() {
    yield Buffer.from('x');
  }
  expect((await images.load(archive(), signal)).map(({ present }) => present)).toEqual([true, true, false]);
});

it('an archive that fails breaks the request off: the engine does not take it for whole', async () => {
  let ended = false;
  const broken = new Promise((resolve) => {
    answers['POST /images/load'] = (request) => {
      request.resume();
      request.on('end', () => (ended = true));
      request.on('error', resolve);
    };
  });
  async function* archive() {
    yield Buffer.from('x');
    throw new BerthError('Cancelled', 'cut off', { reason: 'CUT_OFF' });
  }
  await expect(images.load(archive(), signal)).rejects.toMatchObject({ reason: 'CUT_OFF' });
  await broken;
  expect(ended).toBe(false);
});

it('an engine that refuses, before or after it has read all, says why', async () => {
  async function* archive() {
    for (let piece = 0; piece < 300; piece += 1) yield Buffer.alloc(100_000);
  }
  answers['POST /images/load'] = (_request, response) => json(response, 500, { message: 'no space left on device' });
  await expect(images.load(archive(), signal)).rejects.toMatchObject({
    code: 'InvalidArgument',
    message: expect.stringContaining('no space left on device'),
  });
  expect(() => loadedNames('{"error":"unexpected EOF"}\n')).toThrow(/unexpected EOF/u);
  expect(() => loadedNames('')).toThrow(/no image in it/u);
});

it('saves by name with a tag, or by id', async () => {
  const asked: string[] = [];
  answers['GET /images/web/json'] = (_request, response) => json(response, 200, { Id: 'sha256:abcdef' });
  answers['GET /images/abc/json'] = answers['GET /images/web/json'];
  for (const name of ['web:latest', 'sha256:abcdef']) {
    answers[`GET /images/${name}/get`] = (_request, response) => {
      asked.push(name);
      response.end('tar');
    };
  }
  for (const name of ['web', 'abc']) {
    let text = '';
    for await (const chunk of images.save(name, signal)) text += new TextDecoder().decode(chunk);
    expect(text).toBe('tar');
  }
  expect(asked).toEqual(['web:latest', 'sha256:abcdef']);
  await expect(images.save('none', signal)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'NotFound' });
});

it.each(['', '../containers/x', 'a/../../b', '-a', 'a b', 'a?all=1'])('refuses %j, which is no name', async (name) => {
  await expect(images.save(name, signal)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: 'InvalidArgument',
    reason: 'BAD_IMAGE_NAME',
  });
});

it('shows a container without the values of its environment', async () => {
  answers['GET /containers/c/json'] = (_request, response) =>
    json(response, 200, { Id: 'c', Config: { Env: ['TOKEN=a=b', 'EMPTY=', 'BARE'], Cmd: ['x'] } });
  expect(await new DockerReader(calls).details('c')).toEqual({
    Id: 'c',
    Config: { Env: ['TOKEN', 'EMPTY', 'BARE'], Cmd: ['x'] },
  });
});
