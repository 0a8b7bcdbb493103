import { join } from 'node:path';
import type { ExecResult } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { startCluster } from './cluster.ts';
import { issueTo } from './subscriber-context.ts';
import { helloService } from './web-image.ts';

let cluster: Cluster;
const file = (replicas: number) => `
name: app
services:
  web:
${helloService}
    deploy: { replicas: ${replicas} }
`;
const up = (replicas: number) => cluster.berth(['up', '-f', cluster.compose('app', file(replicas))]);

beforeAll(async () => {
  cluster = await startCluster();
  await up(1);
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

const run = (example: string, args: readonly string[]): Promise<ExecResult> =>
  cluster.host.tryExec(
    [process.execPath, join(import.meta.dirname, `../../examples/${example}/src/main.ts`), ...args],
    {
      signal: AbortSignal.timeout(60_000),
    },
  );

describe('examples/grpc-client', () => {
  it('lists the tasks as a reader, then shows each change of them', async () => {
    const folder = await issueTo(cluster, 'reader', 'example');
    const running = run('grpc-client', [folder, `${cluster.host.address}:7401`, '3']);
    // It may list before or after the second task comes; either way it sees three more changes.
    const changes = (async () => {
      await up(2);
      await up(1);
    })();
    const [{ code, stdout, stderr }] = await Promise.all([running, changes]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines).toContain('app web.1 running');
    expect(lines.filter((line) => line.startsWith('berth '))).not.toEqual([]);
    const changed = lines.filter((line) => line.startsWith('change '));
    expect(changed.length).toBeGreaterThanOrEqual(3);
    for (const line of changed) expect(line).toMatch(/^change \d+ task\/[0-9a-z]+ \w+$/u);
  });

  it('is refused as a subscriber', async () => {
    const folder = await issueTo(cluster, 'subscriber', 'example');
    const { code, stderr } = await run('grpc-client', [folder, `${cluster.host.address}:7401`, '1']);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/subscriber:example may not call/u);
  });
});

describe('examples/subscriber', () => {
  it('gets every event once and in order, also those that came while it was off', async () => {
    const folder = await issueTo(cluster, 'subscriber', 'example');
    const address = `${cluster.host.address}:7451`;
    const take = async (count: number) => {
      const { code, stdout, stderr } = await run('subscriber', [folder, address, String(count)]);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const lines = stdout.trim().split('\n');
      expect(lines).toHaveLength(count);
      return lines.map((line) => {
        const [revision = '', scope = '', ...keys] = line.split(' ');
        return { revision: Number(revision), scope, keys };
      });
    };
    const before = await take(3);
    await up(2);
    const after = await take(3);
    const all = [...before, ...after];
    for (const { scope, keys } of all) {
      expect(scope).toMatch(/^(stack|node)\.\w+/u);
      expect(keys).not.toEqual([]);
    }
    expect(new Set(all.map(({ revision, scope }) => `${revision} ${scope}`)).size).toBe(6);
    expect(all.map(({ revision }) => revision)).toEqual(all.map(({ revision }) => revision).sort((a, b) => a - b));
  });
});
