import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { tcpProber } from './tcp-prober.ts';

describe('tcpProber', () => {
  it('tells an open port from a refused one and from silence', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect(await tcpProber.probe(`127.0.0.1:${port}`, 1_000)).toBe('open');
    await new Promise((resolve) => server.close(resolve));
    expect(await tcpProber.probe(`127.0.0.1:${port}`, 1_000)).toBe('refused');
    expect(await tcpProber.probe('not-an-address.invalid:1', 1_000)).toBe('none');
  });
});
