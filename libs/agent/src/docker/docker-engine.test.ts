import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContainerSpec } from '@berth/contracts/workload';
import type { RuntimeHint } from '@berth/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DockerCalls } from './docker-calls.ts';
import { DockerRuntime } from './docker-runtime.ts';

/** An engine that answers what the test says: for what a real one can not be made to do. */
const deadlines = { look: 200, change: 200, pullStart: 200, pullSilence: 200, stopSlack: 200 };
let folder: string;
let server: Server;
let answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void>;
let runtime: DockerRuntime;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-engine-'));
  answers = {};
  server = createServer((request, response) => {
    const path = `${request.method} ${(request.url ?? '').split('?')[0]}`;
    const answer = answers[path];
    if (answer) answer(request, response);
    else json(response, 404, { message: `no answer to ${path}` });
  });
  const socketPath = join(folder, 'engine.sock');
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  runtime = new DockerRuntime(new DockerCalls({ socketPath, deadlines }), 'c1');
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function frame(text: string): Buffer {
  const body = Buffer.from(`2026-01-01T00:00:00.000000000Z ${text}\n`);
  const header = Buffer.alloc(8);
  header[0] = 1;
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}

const signal = new AbortController().signal;
const options = { command: ['x'], tty: false, environment: [], user: '', workingDir: '', size: undefined };
const exec = async () => {
  const parts: string[] = [];
  for await (const part of (await runtime.exec('a', options)).output) {
    parts.push(part.kind === 'exit' ? `exit ${part.code}` : `${part.kind} ${new TextDecoder().decode(part.data)}`);
  }
  return parts;
};

const plan = {
  taskId: 'a',
  run: 1,
  name: 'berth-a-1',
  hostname: '',
  labels: {},
  container: ContainerSpec.fromPartial({ image: 'busybox' }),
  reservations: undefined,
  limits: undefined,
  ports: [],
  expose: [],
  volumes: new Map(),
  networks: undefined,
} as const;
const created = {
  Id: 'a',
  Name: '/a',
  Config: { StopTimeout: 0 },
  NetworkSettings: {},
  State: { Status: 'created', ExitCode: 0 },
};

describe('an engine that', () => {
  it('does not answer, whatever it is asked: the call ends as Unavailable, to be tried again', async () => {
    const silent = () => undefined;
    for (const path of ['POST /containers/create', 'POST /containers/a/start', 'POST /containers/a/stop']) {
      answers = { 'GET /containers/a/json': (_, response) => json(response, 200, created), [path]: silent };
      if (!path.endsWith('create')) {
        answers['POST /containers/create'] = (_, response) => json(response, 201, { Id: 'a' });
      }
      const doing = path.endsWith('stop') ? runtime.stop('a') : runtime.start(plan, signal);
      await expect(doing, path).rejects.toMatchObject({ code: 'Unavailable', reason: 'ENGINE_UNAVAILABLE' });
    }
    answers = { 'GET /containers/json': silent, 'GET /events': silent, 'GET /info': silent };
    await expect(runtime.list()).rejects.toMatchObject({ code: 'Unavailable' });
    await expect(runtime.facts()).rejects.toMatchObject({ code: 'Unavailable' });
  });

  it('lets a pull begin and then says nothing more: Unavailable, not a missing image', async () => {
    answers['POST /images/create'] = (_, response) => void response.writeHead(200).write('{"status":"Pulling"}\n');
    await expect(runtime.prepare(plan, signal)).rejects.toMatchObject({ code: 'Unavailable' });
  });

  it('gives a stop the time that its container has', async () => {
    const stoppedAt = performance.now();
    answers['GET /containers/a/json'] = (_, response) =>
      json(response, 200, { ...created, Config: { StopTimeout: 1 } });
    answers['POST /containers/a/stop'] = (_, response) => void setTimeout(() => response.writeHead(204).end(), 400);
    await runtime.stop('a');
    expect(performance.now() - stoppedAt).toBeGreaterThan(390);
  });

  it('has lost its containerd: the start is still to be made, and no run has failed', async () => {
    const message =
      'connection error: desc = "transport: error while dialing: dial unix /run/containerd/containerd.sock"';
    let state: object = created.State;
    answers['POST /containers/create'] = (_, response) => json(response, 201, { Id: 'a' });
    answers['GET /containers/a/json'] = (_, response) => json(response, 200, { ...created, State: state });
    answers['POST /containers/a/start'] = (_, response) => {
      state = { Status: 'created', ExitCode: 128, Error: message };
      json(response, 500, { message });
    };
    await expect(runtime.start(plan, signal)).rejects.toMatchObject({ code: 'Unavailable' });
    expect((await runtime.inspect('a'))?.phase).toEqual({ kind: 'created' });
    answers['POST /containers/a/start'] = (_, response) => {
      state = { Status: 'running', Running: true, ExitCode: 0, Error: '', StartedAt: '2026-01-01T00:00:00Z' };
      response.writeHead(204).end();
    };
    expect((await runtime.inspect(await runtime.start(plan, signal)))?.phase.kind).toBe('running');
  });

  it('has endless logs: they are passed on as they come, not read into memory first', async () => {
    answers['GET /containers/a/logs'] = (_request, response) => void response.writeHead(200).write(frame('first'));
    const lines = runtime.logs('a', { follow: false, tail: undefined, sinceMs: 0, signal })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    expect(new TextDecoder().decode(value?.line)).toBe('first');
    await lines.return?.();
  });

  it('knows no such container: NotFound', async () => {
    const lines = runtime.logs('a', { follow: true, tail: undefined, sinceMs: 0, signal })[Symbol.asyncIterator]();
    await expect(lines.next()).rejects.toMatchObject({ code: 'NotFound' });
  });

  it('ends the output of a command before it knows the exit code: the code is waited for', async () => {
    let asked = 0;
    answers['POST /containers/a/exec'] = (_request, response) => json(response, 201, { Id: 'e' });
    server.on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'),
    );
    answers['GET /exec/e/json'] = (_request, response) => {
      asked += 1;
      json(response, 200, asked < 3 ? { Running: true, ExitCode: null } : { Running: false, ExitCode: 3 });
    };
    expect(await exec()).toEqual(['exit 3']);
  });

  it('ends a terminal with its input: the end of the input is not passed on to one', async () => {
    answers['POST /containers/a/exec'] = (_request, response) => json(response, 201, { Id: 'e' });
    answers['GET /exec/e/json'] = (_request, response) => json(response, 200, { Running: false, ExitCode: 4 });
    server.on('upgrade', (_request, socket) => {
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
      socket.on('end', () => socket.end());
      setTimeout(() => socket.end('later'), 300);
    });
    const session = await runtime.exec('a', { ...options, tty: true });
    session.endInput();
    const parts: string[] = [];
    for await (const part of session.output)
      parts.push(part.kind === 'exit' ? `exit ${part.code}` : new TextDecoder().decode(part.data));
    expect(parts).toEqual(['later', 'exit 4']);
  });

  it('refuses a command that is not there: the caller sees why, and what a shell would answer', async () => {
    answers['POST /containers/a/exec'] = (_request, response) => json(response, 201, { Id: 'e' });
    answers['POST /exec/e/start'] = (_request, response) =>
      json(response, 400, { message: 'exec: "x": executable file not found in $PATH' });
    expect(await exec()).toEqual(['stderr exec: "x": executable file not found in $PATH\n', 'exit 127']);
  });

  it('opens a log when nobody wants it any more: it is let go at once', async () => {
    const abort = new AbortController();
    let closed = false;
    answers['GET /containers/a/logs'] = (_request, response) => {
      response.on('close', () => {
        closed = true;
      });
      abort.abort();
      response.writeHead(200).flushHeaders();
    };
    const lines = runtime.logs('a', { follow: true, tail: undefined, sinceMs: 0, signal: abort.signal });
    for await (const line of lines) expect(line).toBe('none');
    await expect.poll(() => closed).toBe(true);
  });

  it('answers with an error to who follows its events: it is asked again', async () => {
    let asked = 0;
    answers['GET /events'] = (_request, response) => {
      asked += 1;
      if (asked === 1) json(response, 500, { message: 'starting' });
      else response.writeHead(200).flushHeaders();
    };
    const abort = new AbortController();
    const hints: RuntimeHint[] = [];
    for await (const hint of runtime.watch(abort.signal)) {
      hints.push(hint);
      abort.abort();
    }
    expect([asked, hints]).toEqual([2, [{ kind: 'gap' }]]);
  });
});
