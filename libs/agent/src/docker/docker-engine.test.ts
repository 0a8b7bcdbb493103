import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RuntimeHint } from '@berth/kernel';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DockerCalls } from './docker-calls.ts';
import { DockerRuntime } from './docker-runtime.ts';

/** An engine that answers what the test says: for what a real one can not be made to do. */
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
  runtime = new DockerRuntime(new DockerCalls({ socketPath }), 'c1');
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

describe('an engine that', () => {
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

  it('refuses a command that is not there: the caller sees why, and what a shell would answer', async () => {
    answers['POST /containers/a/exec'] = (_request, response) => json(response, 201, { Id: 'e' });
    answers['POST /exec/e/start'] = (_request, response) =>
      json(response, 400, { message: 'exec: "x": executable file not found in $PATH' });
    expect(await exec()).toEqual(['stderr exec: "x": executable file not found in $PATH\n', 'exit 127']);
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
