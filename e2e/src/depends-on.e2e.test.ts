import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from './cluster.ts';
import { sharedCluster } from './cluster.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await sharedCluster();
});

const chain = (migrateExit: number) => `
name: chain
services:
  redis:
    image: redis:7
    healthcheck: { test: ["CMD", "redis-cli", "ping"], interval: 1s, retries: 10 }
  migrate:
    image: busybox:latest
    command: ["sh", "-c", "sleep 1; exit ${migrateExit}"]
    restart: "no"
    depends_on: { redis: { condition: service_healthy } }
  web:
    image: busybox:latest
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    depends_on: { migrate: { condition: service_completed_successfully } }
`;

const inspect = async (service: string, format: string) => {
  const filters = ['--filter', 'label=berth.stack=chain', '--filter', `label=berth.service=${service}`];
  const id = (await cluster.docker(['ps', '--all', '--quiet', ...filters])).trim().split('\n')[0] ?? '';
  return (await cluster.docker(['inspect', '--format', format, id])).trim();
};

describe('depends_on', () => {
  it('starts a chain in its order, by Docker’s own timestamps', async () => {
    await cluster.berth(['up', '-f', cluster.compose('chain', chain(0))]);
    const at = async (service: string, field: string) => Date.parse(await inspect(service, `{{.State.${field}}}`));
    const health = JSON.parse(await inspect('redis', '{{json .State.Health.Log}}')) as {
      ExitCode: number;
      End: string;
    }[];
    const healthyAt = Math.min(...health.filter((check) => check.ExitCode === 0).map((check) => Date.parse(check.End)));
    // Docker keeps the last five checks; the first healthy one is no earlier than the start.
    expect(await at('redis', 'StartedAt')).toBeLessThan(await at('migrate', 'StartedAt'));
    expect(Number.isFinite(healthyAt)).toBe(true);
    expect(await at('migrate', 'FinishedAt')).toBeLessThan(await at('web', 'StartedAt'));
    await cluster.berth(['down', 'chain']);
  });

  it('a failing migrate leaves web pending, and why says so', async () => {
    const { code, stderr } = await cluster.tryBerth([
      'up',
      '-f',
      cluster.compose('chain', chain(3)),
      '--timeout',
      '30s',
    ]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/migrate/u);
    const why = await cluster.berth(['why', 'chain_web.1']);
    expect(why).toMatch(/pending/u);
    expect(why).toMatch(/migrate.*(failed|exit code 3)/iu);
    expect(await cluster.containers('chain', 'web')).toEqual([]);
    await cluster.berth(['down', 'chain']);
  });
});
