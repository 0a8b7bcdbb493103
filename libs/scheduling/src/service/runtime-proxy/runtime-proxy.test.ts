import type { LoadImageRequest as AgentLoadRequest, RuntimeServiceImplementation } from '@berth/contracts/agent';
import { Usage } from '@berth/contracts/agent';
import { NodeStatus } from '@berth/contracts/registry';
import type { LoadImageRequest, LoadImageResponse, LogsResponse, StatsResponse } from '@berth/contracts/scheduler';
import type { CallerContext } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { MemoryLogger, MemoryRpc, MemoryStore, SeededRng, VirtualClock } from '@berth/memory';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeFacts, replicas, serviceSpec, stackSpec } from '../../testing/builders.ts';
import { FakeAgent, TestCluster } from '../../testing/cluster.ts';

type Runtime = Partial<RuntimeServiceImplementation<CallerContext>>;

const hosts = ['n1', 'n2', 'n3'];
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** Three nodes with one replica of `web` each, whose agents serve what the test says; `undefined`: nobody answers there. */
async function setUp(runtimeOf: (nodeId: string) => Runtime | undefined) {
  const clock = new VirtualClock();
  const rng = new SeededRng(1);
  const log = new MemoryLogger();
  const store = new MemoryStore({ clock });
  const cluster = new TestCluster({ clock, rng, log, store, rpc: new MemoryRpc({ clock, rng, logger: log }) });
  const abort = new AbortController();
  for (const id of hosts) {
    const node = nodeFacts(id, { manager: id === 'n1', address: id });
    cluster.setNode(node);
    const runtime = runtimeOf(id);
    if (runtime) cluster.serveRuntime(node, runtime);
    void new FakeAgent(cluster, id).run(abort.signal);
  }
  cluster.start('scheduler');
  ends.push(async () => {
    abort.abort();
    await cluster.stop();
  });
  const spec = stackSpec('a', [serviceSpec('web', { mode: replicas(3) })]);
  await cluster.finish(cluster.control().applyStack({ spec }));
  await cluster.clock.advance(3_000);
  const tasks = await cluster.tasks();
  expect(tasks.map(({ task }) => task?.nodeId).sort()).toEqual(hosts);
  return { cluster, tasks };
}

async function all<T>(cluster: TestCluster, items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  const reading = (async () => {
    for await (const item of items) found.push(item);
  })();
  await cluster.finish(reading, 120_000);
  return found;
}

describe('logs of many hosts', () => {
  const lines = (times: Record<string, number[]>, waitMs = 0) => {
    const set = (nodeId: string, clock: () => { sleep(ms: number): Promise<void> }): Runtime => ({
      async *logs() {
        for (const atMs of times[nodeId] ?? []) {
          if (waitMs > 0) await clock().sleep(waitMs);
          yield { stderr: false, line: Buffer.from(`${nodeId} ${atMs}`), atMs };
        }
      },
    });
    return set;
  };

  it('come in the order of their times', async () => {
    const of = lines({ n1: [1, 4, 7], n2: [2, 5, 8], n3: [3, 6, 9] }, 10);
    let clock: TestCluster['clock'];
    const { cluster } = await setUp((id) => of(id, () => clock));
    clock = cluster.clock;
    const read = await all<LogsResponse>(cluster, cluster.control().logs({ stack: 'a' }));
    expect(read.map(({ line }) => line.toString())).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 9].map((at) => `n${((at - 1) % 3) + 1} ${at}`),
    );
  });

  it('go on without a node that does not answer, and name it; of a lost one without asking', async () => {
    const of = lines({ n1: [1], n2: [2] });
    const { cluster } = await setUp((id) => (id === 'n3' ? undefined : of(id, () => cluster.clock)));
    const read = await all<LogsResponse>(cluster, cluster.control().logs({ stack: 'a' }));
    expect(read.filter(({ notice }) => notice === '').map(({ line }) => line.toString())).toEqual(['n1 1', 'n2 2']);
    expect(read.filter(({ notice }) => notice !== '')).toMatchObject([
      { notice: expect.stringMatching(/^host-n3: /u) },
    ]);

    cluster.setNode(nodeFacts('n2', { address: 'n2', status: NodeStatus.NODE_STATUS_LOST }));
    await cluster.clock.advance(100);
    const again = await all<LogsResponse>(cluster, cluster.control().logs({ stack: 'a' }));
    expect(again.map(({ notice }) => notice)).toContain('host-n2: node host-n2 is lost');
  });

  it('begin with the last lines of what is there, and with the first of what comes to be', async () => {
    const tails: (number | undefined)[] = [];
    const { cluster } = await setUp(() => ({
      async *logs({ tail }, { signal }) {
        tails.push(tail);
        yield { stderr: false, line: Buffer.from('x'), atMs: 1 };
        while (!signal.aborted) await cluster.clock.sleep(1_000, signal);
      },
    }));
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _ of cluster.control().logs({ stack: 'a', follow: true, tail: 5 }, { signal: stop.signal }));
    })().catch(() => {});
    await cluster.clock.advance(500);
    const spec = stackSpec('a', [serviceSpec('web', { mode: replicas(4) })]);
    await cluster.finish(cluster.control().applyStack({ spec }));
    await cluster.clock.advance(3_000);
    expect(tails).toEqual([5, 5, 5, undefined]);
    stop.abort();
    await cluster.finish(reading);
  });

  it('say once, not at every try, that a node does not answer', async () => {
    const { cluster } = await setUp((id) =>
      id === 'n3'
        ? undefined
        : {
            async *logs(_request, { signal }) {
              yield { stderr: false, line: Buffer.from(id), atMs: 1 };
              while (!signal.aborted) await cluster.clock.sleep(1_000, signal);
            },
          },
    );
    const stop = new AbortController();
    const read: LogsResponse[] = [];
    const reading = (async () => {
      for await (const line of cluster.control().logs({ stack: 'a', follow: true }, { signal: stop.signal }))
        read.push(line);
    })().catch(() => {});
    await cluster.clock.advance(30_000);
    expect(read.filter(({ notice }) => notice !== '')).toHaveLength(1);
    expect(read).toHaveLength(3);
    stop.abort();
    await cluster.finish(reading);
  });
});

describe('stats and inspect', () => {
  const callers = new Set<string>();
  const runtime: Runtime = {
    async *stats({ caller }) {
      callers.add(caller);
      yield { usage: Usage.fromPartial({ cpuMillis: 250 }) };
    },
    inspect: async ({ taskId, caller }) => {
      callers.add(caller);
      return { containerJson: JSON.stringify({ Name: taskId }) };
    },
  };

  it('one measurement of each task, with its host; of a dead host a notice', async () => {
    const { cluster } = await setUp((id) => (id === 'n2' ? undefined : runtime));
    const read = await all<StatsResponse>(cluster, cluster.control().stats({ stack: 'a' }));
    expect(read.map(({ hostname, usage }) => [hostname, usage?.cpuMillis]).sort()).toEqual([
      ['host-n1', 250],
      ['host-n2', undefined],
      ['host-n3', 250],
    ]);
    const one = await all<StatsResponse>(cluster, cluster.control().stats({ task: 'a_web.1' }));
    expect(one).toHaveLength(1);
  });

  it('a task is shown with its container, or with why it is not', async () => {
    const { cluster, tasks } = await setUp((id) => (id === 'n2' ? undefined : runtime));
    const on = (nodeId: string) => tasks.find(({ task }) => task?.nodeId === nodeId)?.task?.id ?? '';
    const shown = await cluster.finish(cluster.control().inspectTask({ task: on('n1') }));
    expect(shown).toMatchObject({ hostname: 'host-n1', notice: '', containerJson: `{"Name":"${on('n1')}"}` });
    const dark = await cluster.finish(cluster.control().inspectTask({ task: on('n2') }));
    expect(dark).toMatchObject({ hostname: 'host-n2', containerJson: '', notice: expect.stringMatching(/./u) });
    expect([...callers]).toEqual(['operator:admin']);
  });
});

describe('images', () => {
  /** An engine that keeps what it gets; `fails` after so many pieces. */
  function engine(got: Map<string, string>, id: string, fails?: number): Runtime {
    return {
      async *loadImage(requests) {
        let text = '';
        let pieces = 0;
        let whole = false;
        for await (const { step } of requests as AsyncIterable<AgentLoadRequest>) {
          if (step?.$case === 'end') whole = true;
          if (step?.$case !== 'chunk') continue;
          text += step.value.toString();
          pieces += 1;
          if (pieces === fails) throw new BerthError('FailedPrecondition', 'no space left on device');
        }
        if (!whole) throw new BerthError('Cancelled', 'cut off');
        got.set(id, text);
        yield { images: [{ name: 'web:1', id: 'sha256:1', present: id === 'n2' }] };
      },
      async *saveImage({ name }) {
        if (id !== 'n2' || name !== 'web:1') throw new BerthError('NotFound', 'no such image');
        yield { chunk: Buffer.from('ab') };
        yield { chunk: Buffer.from('c') };
      },
    };
  }

  async function* archive(nodes: string[], pieces: number, end = true): AsyncGenerator<LoadImageRequest> {
    yield { step: { $case: 'start', value: { nodes } } };
    for (let piece = 0; piece < pieces; piece += 1) yield { step: { $case: 'chunk', value: Buffer.from(`${piece},`) } };
    if (end) yield { step: { $case: 'end', value: true } };
  }
  const outcomes = (answers: readonly LoadImageResponse[]) =>
    Object.fromEntries(
      answers.flatMap(({ hostname, outcome }) =>
        outcome ? [[hostname, outcome.$case === 'failed' ? outcome.value : outcome.value.images[0]?.present]] : [],
      ),
    );

  it('go to all ready nodes; one that fails is named and holds up nobody', async () => {
    const got = new Map<string, string>();
    const { cluster } = await setUp((id) => engine(got, id, id === 'n3' ? 5 : undefined));
    const answers = await all(cluster, cluster.control().loadImage(archive([], 100)));
    expect(outcomes(answers)).toEqual({ 'host-n1': false, 'host-n2': true, 'host-n3': 'no space left on device' });
    expect(got.get('n1')).toBe(Array.from({ length: 100 }, (_, piece) => `${piece},`).join(''));
    expect(got.get('n2')).toBe(got.get('n1'));
  });

  it('go to the nodes named, and nowhere when one is not known', async () => {
    const got = new Map<string, string>();
    const { cluster } = await setUp((id) => engine(got, id));
    await all(cluster, cluster.control().loadImage(archive(['host-n3', 'n3'], 2)));
    expect([...got.keys()]).toEqual(['n3']);
    await expect(all(cluster, cluster.control().loadImage(archive(['n3', 'nowhere'], 2)))).rejects.toMatchObject({
      reason: 'NO_SUCH_NODE',
    });
  });

  it('that were cut off are loaded nowhere', async () => {
    const got = new Map<string, string>();
    const { cluster } = await setUp((id) => engine(got, id));
    await expect(all(cluster, cluster.control().loadImage(archive([], 50, false)))).rejects.toThrow(/cut off/u);
    expect(got.size).toBe(0);
  });

  it('wait for the slowest node with a bounded number of pieces, and go on without one that stalls', async () => {
    const got = new Map<string, string>();
    const { cluster } = await setUp((id) =>
      id === 'n3'
        ? {
            async *loadImage(requests, { signal }) {
              for await (const _ of requests) while (!signal.aborted) await cluster.clock.sleep(1_000, signal);
              yield { images: [] };
            },
          }
        : engine(got, id),
    );
    let sent = 0;
    async function* counted() {
      for await (const request of archive([], 200)) {
        sent += 1;
        yield request;
      }
    }
    const loading = all(cluster, cluster.control().loadImage(counted()));
    await cluster.clock.advance(10_000);
    expect(sent).toBeLessThan(60);
    expect(outcomes(await loading)).toMatchObject({
      'host-n1': false,
      'host-n2': true,
      'host-n3': 'it took nothing for 60 s',
    });
  });

  it('are saved from the first node that has them', async () => {
    const { cluster } = await setUp((id) => engine(new Map(), id));
    const save = (name: string, node = '') => all(cluster, cluster.control().saveImage({ name, node }));
    const pieces = await save('web:1');
    expect(pieces.map(({ chunk, hostname }) => `${hostname} ${chunk}`)).toEqual(['host-n2 ab', ' c']);
    await expect(save('web:1', 'n1')).rejects.toMatchObject({ code: 'NotFound', reason: 'NO_SUCH_IMAGE' });
    await expect(save('none')).rejects.toThrow(/host-n1: not there; host-n2: not there; host-n3: not there/u);
  });
});
