import { createServer } from 'node:http';
import type { Logger } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import type { Registry } from 'prom-client';

export interface HttpOptions {
  /** `host:port`; port 0 picks one. */
  readonly address: string;
  /** True, or what is still missing. */
  readonly ready: () => true | string;
  readonly registry: Registry;
  readonly logger: Logger;
}

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** `/healthz` (the process answers), `/readyz` (200, or 503 with what is missing), `/metrics` (Prometheus). */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type }).end(body);
    };
    const text = 'text/plain; charset=utf-8';
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, text, 'GET only\n');
    switch (request.url?.split('?')[0]) {
      case '/healthz':
        return answer(200, text, 'ok\n');
      case '/readyz': {
        const ready = options.ready();
        return ready === true ? answer(200, text, 'ready\n') : answer(503, text, `${ready}\n`);
      }
      case '/metrics':
        options.registry.metrics().then(
          (body) => answer(200, options.registry.contentType, body),
          (error: unknown) => {
            options.logger.error({ error }, 'metrics failed');
            answer(500, text, 'metrics failed\n');
          },
        );
        return;
      default:
        return answer(404, text, 'not found\n');
    }
  });
  server.requestTimeout = 5_000;
  server.maxConnections = 256;
  const port = await listen(server, options.address);
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: ReturnType<typeof createServer>, address: string): Promise<number> {
  const at = address.lastIndexOf(':');
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const message = `cannot listen on ${address}: ${String(cause)}`;
      reject(new BerthError('Unavailable', message, { reason: 'ADDRESS_IN_USE', details: { address }, cause }));
    });
    server.listen({ host: address.slice(0, at).replace(/^\[|\]$/gu, ''), port: Number(address.slice(at + 1)) }, () => {
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
    });
  });
}
