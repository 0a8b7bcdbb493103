import { chmodSync } from 'node:fs';
import type { Server } from 'node:net';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** What a lab's keeper does when asked; all else about a lab needs no keeper. */
export type LabRequest =
  | { readonly do: 'status' | 'add' | 'down' }
  | { readonly do: 'kill' | 'start' | 'freeze' | 'thaw' | 'heal'; readonly host: string }
  | { readonly do: 'partition'; readonly host: string; readonly oneWay?: 'from' | 'to' }
  | { readonly do: 'cut'; readonly host: string; readonly to: string; readonly oneWay: boolean; readonly port?: number }
  | { readonly do: 'mend'; readonly host: string; readonly to: string };

export interface LabStatus {
  readonly hosts: readonly { readonly name: string; readonly address: string; readonly on: boolean }[];
  readonly faults: readonly string[];
}

type Answer = { readonly status: LabStatus } | { readonly error: string };

function socketOf(labDir: string): string {
  return join(labDir, 'keeper.sock');
}

/** Asks the keeper of a lab. Rejects with what it could not do. */
export function ask(labDir: string, request: LabRequest): Promise<LabStatus> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketOf(labDir));
    socket.on('error', (cause) => reject(new Error(`nobody keeps the lab in ${labDir}: ${cause.message}`, { cause })));
    createInterface({ input: socket }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      if ('error' in answer) reject(new Error(answer.error));
      else resolve(answer.status);
    });
    socket.on('close', () => reject(new Error(`the keeper of the lab in ${labDir} ended without an answer`)));
    socket.write(`${JSON.stringify(request)}\n`);
  });
}

/** Answers one request after the other: a host is not started while it is being killed. Only root can ask. */
export function answerRequests(labDir: string, carryOut: (request: LabRequest) => Promise<LabStatus>): Promise<Server> {
  let last: Promise<unknown> = Promise.resolve();
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    createInterface({ input: socket }).on('line', (line) => {
      last = last
        .then(() => carryOut(JSON.parse(line) as LabRequest))
        .then(
          (status): Answer => ({ status }),
          (error: unknown): Answer => ({ error: error instanceof Error ? error.message : String(error) }),
        )
        .then((answer) => socket.end(`${JSON.stringify(answer)}\n`));
    });
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(socketOf(labDir), () => {
      chmodSync(socketOf(labDir), 0o600);
      resolve(server);
    });
  });
}
