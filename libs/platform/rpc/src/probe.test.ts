import { createServer } from 'node:net';
import { silentLogger } from '@berth/process';
import { expect, it } from 'vitest';
import { memoryTls, probeServer, startServer } from './index.ts';
import { TestCluster } from './test-certificates.ts';

const host = '127.0.0.1';

it('tells an agent that answers from one that is mute, from a host without one, and from silence', async () => {
  const cluster = await TestCluster.create();
  const tls = memoryTls(await cluster.certificate({ role: 'node', id: 'n1' }));
  const agent = await startServer({
    address: `${host}:0`,
    access: { kind: 'mtls', tls },
    services: [],
    logger: silentLogger,
  });
  expect(await probeServer({ host, port: agent.port }, 5_000)).toBe('open');
  await agent.stop(0);
  expect(await probeServer({ host, port: agent.port }, 5_000)).toBe('refused');

  // As a process that stands still: its kernel takes the connection, nobody says anything.
  const mute = createServer().listen(0, host);
  await new Promise((resolve) => mute.once('listening', resolve));
  const address = mute.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  expect(await probeServer({ host, port }, 300)).toBe('refused');
  mute.close();

  expect(await probeServer({ host: 'not-an-address.invalid', port: 1 }, 1_000)).toBe('none');
});
