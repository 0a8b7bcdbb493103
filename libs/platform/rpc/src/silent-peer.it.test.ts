import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rpc } from '@berth/contracts';
import type { RuntimeServiceImplementation } from '@berth/contracts/agent';
import type { CallerContext } from '@berth/kernel';
import { bind } from '@berth/kernel';
import { SystemClock, SystemRng, silentLogger } from '@berth/process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDialer } from './dialer.ts';
import { startServer } from './server.ts';
import { TestCluster } from './test-certificates.ts';
import { memoryTls } from './tls.ts';

const clock = new SystemClock();
const logger = silentLogger;
const registry = { role: 'service', name: 'registry' } as const;
const operator = { role: 'operator', name: 'admin' } as const;
const scheduler = { role: 'service', name: 'scheduler' } as const;

let cluster: TestCluster;
let folder: string;
let children: ChildProcess[];

beforeEach(async () => {
  cluster = await TestCluster.create();
  folder = mkdtempSync(join(tmpdir(), 'berth-silent-'));
  const tls = await cluster.certificate(registry);
  for (const name of ['cert', 'key', 'ca'] as const) writeFileSync(join(folder, `${name}.pem`), tls[name]);
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

async function spawnServer(): Promise<{ readonly child: ChildProcess; readonly address: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'test-server.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  return { child, address: `127.0.0.1:${line.toString().trim()}` };
}

async function seconds(work: Promise<unknown>): Promise<{ readonly took: number; readonly error: unknown }> {
  const started = performance.now();
  const error = await work.catch((thrown: unknown) => thrown);
  return { took: (performance.now() - started) / 1_000, error };
}

describe('a server that falls silent (SIGSTOP)', () => {
  it('is noticed within 3 s by streams and unary calls, and the next call goes to another address', async () => {
    const [first, second] = [await spawnServer(), await spawnServer()];
    const target = { identity: registry, addresses: () => [first.address, second.address] };
    const as = async (who: typeof operator | typeof scheduler) =>
      createDialer({ tls: memoryTls(await cluster.certificate(who)), clock, rng: new SystemRng(), logger });
    const [asOperator, asScheduler] = [await as(operator), await as(scheduler)];
    const certificates = asOperator.client(rpc.certificate, target);
    const pid = (await certificates.listCertificates({})).certificates[0]?.serial;
    expect(pid).toBe(String(first.child.pid));
    const stream = asScheduler.client(rpc.runtime, target).logs({})[Symbol.asyncIterator]();
    await stream.next();
    first.child.kill('SIGSTOP');
    // Not idempotent: fails as soon as the silence is noticed, long before its deadline of 30 s.
    const results = await Promise.all([
      seconds(stream.next()),
      seconds(certificates.rotateToken({}, { timeoutMs: 30_000 })),
    ]);
    for (const { took, error } of results) {
      expect(error).toMatchObject({ code: 'Unavailable' });
      expect(took).toBeLessThan(3.2);
    }
    // Idempotent: begins on the frozen server again or goes on by itself; either way it is answered by the second.
    const { took } = await seconds(
      certificates.listCertificates({}).then(({ certificates: [certificate] }) => {
        expect(certificate?.serial).toBe(String(second.child.pid));
      }),
    );
    expect(took).toBeLessThan(3.2);
    asOperator.close();
    asScheduler.close();
  });
});

describe('a server that is killed (SIGKILL)', () => {
  it('ends every call under way with Unavailable, at once', async () => {
    const dialerOf = async (who: typeof operator | typeof scheduler) =>
      createDialer({ tls: memoryTls(await cluster.certificate(who)), clock, rng: new SystemRng(), logger });
    const [asOperator, asScheduler] = [await dialerOf(operator), await dialerOf(scheduler)];
    for (let round = 0; round < 5; round += 1) {
      const { child, address } = await spawnServer();
      const target = { identity: registry, addresses: () => [address] };
      const streams = Array.from({ length: 5 }, () =>
        asScheduler.client(rpc.runtime, target).logs({})[Symbol.asyncIterator](),
      );
      for (const stream of streams) await stream.next();
      const certificates = asOperator.client(rpc.certificate, target);
      await certificates.listCertificates({});
      const calls = [
        ...streams.map((stream) => stream.next()),
        ...streams.map(() => certificates.rotateToken({}, { timeoutMs: 30_000 })),
      ];
      const results = Promise.all(calls.map((call) => seconds(call)));
      await clock.sleep(20 * round);
      child.kill('SIGKILL');
      for (const { took, error } of await results) {
        expect(error).toMatchObject({ code: 'Unavailable' });
        expect(took).toBeLessThan(1);
      }
    }
    asOperator.close();
    asScheduler.close();
  });
});

describe('a client that falls silent', () => {
  it('is noticed by the server within 3 s: its stream ends', async () => {
    const ended: number[] = [];
    const runtime = {
      logs: async function* (_request: unknown, { signal }: { signal: AbortSignal }) {
        signal.addEventListener('abort', () => ended.push(performance.now()));
        yield { line: Buffer.from('first') };
        await clock.sleep(60_000, signal);
      },
      exec: async function* () {},
      inspect: async () => ({}),
      stats: async function* () {},
      loadImage: async function* () {},
      saveImage: async function* () {},
    } as unknown as RuntimeServiceImplementation<CallerContext>;
    const access = { kind: 'mtls', tls: memoryTls(await cluster.certificate(registry)) } as const;
    const server = await startServer({
      address: '127.0.0.1:0',
      access,
      services: [bind(rpc.runtime, runtime)],
      logger,
    });
    const clientFolder = mkdtempSync(join(tmpdir(), 'berth-silent-client-'));
    const tls = await cluster.certificate(scheduler);
    for (const name of ['cert', 'key', 'ca'] as const) writeFileSync(join(clientFolder, `${name}.pem`), tls[name]);
    const script = join(import.meta.dirname, 'test-client.ts');
    const child = spawn(process.execPath, [script, clientFolder, `127.0.0.1:${server.port}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const endedEarly = once(child, 'exit').then(() =>
      Promise.reject(new Error('the client ended before its first line')),
    );
    await Promise.race([once(child.stdout, 'data'), endedEarly]);
    endedEarly.catch(() => undefined);
    const frozen = performance.now();
    child.kill('SIGSTOP');
    while (ended.length === 0 && performance.now() - frozen < 10_000) await clock.sleep(20);
    expect((ended[0] ?? Number.POSITIVE_INFINITY) - frozen).toBeLessThan(3_200);
    await server.stop(0);
    rmSync(clientFolder, { recursive: true });
  });
});
