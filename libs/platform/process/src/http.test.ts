import { connect } from 'node:net';
import { isBerthError } from '@berth/kernel';
import { afterEach, describe, expect, it } from 'vitest';
import type { HttpServer } from './http.ts';
import { startHttp } from './http.ts';
import { silentLogger } from './logger.ts';
import { Counter, createMetrics, rpcMetrics } from './metrics.ts';

let server: HttpServer | undefined;
afterEach(() => server?.close());

async function start(ready: () => true | string = () => true) {
  const registry = createMetrics('test');
  server = await startHttp({ address: '127.0.0.1:0', ready, registry, logger: silentLogger });
  const { port } = server;
  return { registry, port, get: (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init) };
}

describe('the HTTP server of a process', () => {
  it('says that it lives, and whether it is ready, with what is missing', async () => {
    let missing: true | string = 'the mirror is not synced';
    const { get } = await start(() => missing);
    expect((await get('/healthz')).status).toBe(200);
    const before = await get('/readyz');
    expect([before.status, await before.text()]).toEqual([503, 'the mirror is not synced\n']);
    missing = true;
    expect((await get('/readyz')).status).toBe(200);
  });

  it('shows the metrics of the process and of its RPCs, by component', async () => {
    const { registry, get } = await start();
    new Counter({ name: 'berth_things_total', help: 'Things.', registers: [registry] }).inc(3);
    rpcMetrics(registry).ended({ method: '/a/B', code: 'OK', ms: 3 });
    const text = await (await get('/metrics')).text();
    expect(text).toContain('berth_things_total{component="test"} 3');
    expect(text).toContain('berth_rpc_calls_total{method="/a/B",code="OK",component="test"} 1');
    expect(text).toMatch(/process_resident_memory_bytes\{component="test"\} \d+/u);
  });

  it('knows nothing else', async () => {
    const { get } = await start();
    expect((await get('/')).status).toBe(404);
    expect((await get('/healthz', { method: 'POST' })).status).toBe(405);
  });

  it('answers the plain HTTP of a shell probe', async () => {
    const { port } = await start();
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('GET /healthz HTTP/1.0\r\n\r\n'));
      socket.once('data', (data) => resolve(String(data)));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/u);
  });

  it('says so when its address is taken', async () => {
    const { port } = await start();
    const registry = createMetrics('other');
    const options = { address: `127.0.0.1:${port}`, ready: () => true as const, registry, logger: silentLogger };
    const error = await startHttp(options).catch((thrown: unknown) => thrown);
    expect(isBerthError(error, 'Unavailable', 'ADDRESS_IN_USE')).toBe(true);
  });
});
