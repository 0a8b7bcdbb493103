import { rpc } from '@berth/contracts';
import type { ConnectResponse } from '@berth/contracts/registry';
import { Node } from '@berth/contracts/registry';
import { BerthError, bind } from '@berth/kernel';
import { MemoryDisk, MemoryLogger, MemoryRpc, SeededRng, VirtualClock } from '@berth/memory';
import { describe, expect, it } from 'vitest';
import { assignmentFixture } from '../domain/assignment-fixture.ts';
import { NodeTasks } from '../domain/node-tasks.ts';
import type { EngineNetwork } from '../domain/task-network.ts';
import { HollowRuntime } from '../hollow/hollow-runtime.ts';
import { AgentCache } from './agent-cache.ts';
import { leaveCluster } from './leave.ts';
import { MemberDirectory } from './members.ts';
import { PresenceClient } from './presence-client.ts';
import { TaskEngine } from './task-engine.ts';

const node = { clusterId: 'c1', nodeId: 'n1', hostname: 'h1' };

describe('leaveCluster', () => {
  async function running(disk = new MemoryDisk()) {
    const clock = new VirtualClock();
    const log = new MemoryLogger();
    const runtime = new HollowRuntime({ clock, images: ['test/shell'] });
    const released: string[] = [];
    const abort = new AbortController();
    const start = async () => {
      const cache = new AgentCache(disk, log);
      const tasks = new NodeTasks({ node, now: clock.monotonic(), ...(await cache.load()) });
      const network = {
        adopt: async () => {},
        prepare: async () => ({ joins: [], dnsServers: [], dnsOptions: [] }),
        release: async (taskId: string) => void released.push(taskId),
      };
      const ignore = (): void => {};
      const settings = { startConcurrency: 8, onStatuses: ignore, onStatics: ignore, onEndpoints: ignore };
      const engine = new TaskEngine({ tasks, node, runtime, network, cache, clock, log, ...settings });
      const own = new AbortController();
      const ended = engine.run(AbortSignal.any([abort.signal, own.signal]));
      return { engine, tasks, ended, kill: () => own.abort() };
    };
    return { clock, log, runtime, released, start, end: () => abort.abort() };
  }
  const whole = (...ids: string[]) => ({
    full: true,
    first: true,
    removed: [],
    assignments: ids.map((id) => assignmentFixture(id)),
  });

  it('stops and removes every task as tasks end, and forgets them', async () => {
    const { clock, log, runtime, released, start, end } = await running();
    const { engine, tasks } = await start();
    engine.sync(whole('a', 'b'));
    await clock.advanceUntil(() => runtime.containers.filter((c) => c.phase.kind === 'running').length === 2);
    let done = false;
    const signal = new AbortController().signal;
    const networks = { list: async () => [] };
    void leaveCluster({ engine, runtime, networks, clock, log }, signal).then(() => {
      done = true;
    });
    await clock.advanceUntil(() => done, 30_000);
    expect(runtime.containers).toEqual([]);
    expect(released.sort()).toEqual(['a', 'b']);
    await clock.advance(1_000);
    expect(tasks.records.size).toBe(0);
    end();
  });

  it('can be begun again by the next agent, with no word from anybody and an engine that is away at first', async () => {
    const { clock, log, runtime, start, end } = await running();
    const first = await start();
    first.engine.sync(whole('a', 'b'));
    await clock.advanceUntil(() => runtime.containers.filter((c) => c.phase.kind === 'running').length === 2);
    await clock.advance(1_000);
    first.kill();
    runtime.up = false;
    const { engine } = await start();
    let done = false;
    const networks = { list: async () => [] };
    void leaveCluster({ engine, runtime, networks, clock, log }, new AbortController().signal).then(() => {
      done = true;
    });
    await clock.advance(5_000);
    expect(done).toBe(false);
    runtime.up = true;
    await clock.advanceUntil(() => done, 60_000);
    expect(runtime.containers).toEqual([]);
    end();
  });

  it('leaves a network to containers of others after a minute, and says so', async () => {
    const { clock, log, runtime, start, end } = await running();
    const { engine } = await start();
    let done = false;
    const networks = { list: async () => [{ name: 'bt-x' } as EngineNetwork] };
    void leaveCluster({ engine, runtime, networks, clock, log }, new AbortController().signal).then(() => {
      done = true;
    });
    await clock.advance(50_000);
    expect(done).toBe(false);
    await clock.advanceUntil(() => done, 15_000);
    expect(log.lines.map(({ message }) => message).join()).toContain('containers of others');
    end();
  });
});

describe('PresenceClient of a node that was removed', () => {
  async function removedBy(connect: () => AsyncGenerator<ConnectResponse>) {
    const clock = new VirtualClock();
    const rng = new SeededRng(1);
    const log = new MemoryLogger();
    const memory = new MemoryRpc({ clock, rng, logger: log });
    const services = [bind(rpc.presence, { connect } as never)];
    memory.serve({ identity: { role: 'service', name: 'registry' }, address: 'r:1', services });
    const members = new MemberDirectory({ disk: new MemoryDisk(), log });
    members.seed({ role: 'service', name: 'registry' }, ['r:1']);
    let told = 0;
    const client = new PresenceClient({
      client: memory.dialer({ role: 'node', id: 'n1' }).client(rpc.presence, members.target('registry')),
      hello: { protocolVersion: 1, clusterId: 'c1', softwareVersion: 'test' },
      describe: async () => Node.fromPartial({}),
      synced: () => true,
      members,
      clock,
      rng,
      log,
      onConnected: () => {},
      onTold: () => {},
      onRemoved: () => {
        told += 1;
      },
    });
    let ended = false;
    void client.run(new AbortController().signal).then(() => {
      ended = true;
    });
    await clock.advance(30_000);
    return { told, ended };
  }
  const response = (partial: Partial<ConnectResponse>): ConnectResponse => ({
    heartbeatIntervalMs: 500,
    leaseMs: 3_000,
    members: [],
    epoch: 'e',
    caSha256: '',
    removed: false,
    revokedIdentities: [],
    ...partial,
  });

  it('hears so on its stream, and ends', async () => {
    const ended = removedBy(async function* () {
      yield response({});
      yield response({ removed: true });
    });
    expect(await ended).toEqual({ told: 1, ended: true });
  });

  it('takes the refusal of its stream as the same word', async () => {
    const ended = removedBy(async function* (): AsyncGenerator<ConnectResponse> {
      yield response({});
      throw new BerthError('PermissionDenied', 'removed', { reason: 'NODE_LEFT' });
    });
    expect(await ended).toEqual({ told: 1, ended: true });
  });

  it('does not take any other refusal for it', async () => {
    const ended = removedBy(async function* (): AsyncGenerator<ConnectResponse> {
      yield response({});
      throw new BerthError('PermissionDenied', 'who are you?', { reason: 'NODE_UNKNOWN' });
    });
    expect(await ended).toEqual({ told: 0, ended: false });
  });
});
