import { setTimeout as sleep } from 'node:timers/promises';
import { rpc } from '@berth/contracts';
import type { LoadImageRequest, RuntimeServiceImplementation } from '@berth/contracts/agent';
import type { CallerContext } from '@berth/kernel';
import { bind } from '@berth/kernel';
import { silentLogger as logger, SystemClock, SystemRng } from '@berth/process';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ClosableDialer } from './dialer.ts';
import { createDialer } from './dialer.ts';
import type { RpcServer } from './server.ts';
import { startServer } from './server.ts';
import { TestCluster } from './test-certificates.ts';
import { memoryTls } from './tls.ts';

// An image is far larger than memory: who writes a stream must wait for who reads it, on both sides.
const pieceBytes = 256 * 1024;
const pieces = 300;
/** What may be on its way between the two: buffers of streams and sockets. */
const aheadMax = 64;

let server: RpcServer;
let dialer: ClosableDialer;
let sent = 0;
let taken = 0;
let hold = new AbortController();

beforeEach(async () => {
  const cluster = await TestCluster.create();
  [sent, taken, hold] = [0, 0, new AbortController()];
  const unused = async function* () {};
  const runtime = {
    ...{ logs: unused, exec: unused, inspect: unused, stats: unused },
    async *loadImage(requests: AsyncIterable<LoadImageRequest>) {
      for await (const _ of requests) {
        taken += 1;
        if (taken === 3) await sleep(60_000, undefined, { signal: hold.signal }).catch(() => undefined);
      }
      yield { images: [] };
    },
    async *saveImage() {
      for (; sent < pieces; sent += 1) yield { chunk: Buffer.alloc(pieceBytes) };
    },
  } as unknown as RuntimeServiceImplementation<CallerContext>;
  const tls = memoryTls(await cluster.certificate({ role: 'node', id: 'n1' }));
  const access = { kind: 'mtls', tls } as const;
  server = await startServer({ address: '127.0.0.1:0', access, services: [bind(rpc.runtime, runtime)], logger });
  const scheduler = memoryTls(await cluster.certificate({ role: 'service', name: 'scheduler' }));
  dialer = createDialer({ clock: new SystemClock(), rng: new SystemRng(), logger, tls: scheduler });
});
afterEach(async () => {
  dialer.close();
  await server.stop(0);
});

const client = () =>
  dialer.client(rpc.runtime, { identity: { role: 'node', id: 'n1' }, addresses: () => [`127.0.0.1:${server.port}`] });

it('a client that writes waits for a server that does not read', { timeout: 30_000 }, async () => {
  async function* archive(): AsyncGenerator<LoadImageRequest> {
    for (; sent < pieces; sent += 1) yield { step: { $case: 'chunk', value: Buffer.alloc(pieceBytes) } };
  }
  const answered = client().loadImage(archive())[Symbol.asyncIterator]().next();
  while (taken < 3) await sleep(10);
  await sleep(500);
  expect(sent).toBeLessThan(aheadMax);
  hold.abort();
  expect((await answered).done).toBe(false);
  expect([sent, taken]).toEqual([pieces, pieces]);
});

it('a server that writes waits for a client that does not read', { timeout: 30_000 }, async () => {
  const stream = client().saveImage({})[Symbol.asyncIterator]();
  await stream.next();
  await sleep(500);
  expect(sent).toBeLessThan(aheadMax);
  let bytes = pieceBytes;
  for (let next = await stream.next(); !next.done; next = await stream.next()) bytes += next.value.chunk.length;
  expect(bytes).toBe(pieces * pieceBytes);
});
