import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Usage } from '@berth/contracts/agent';
import type { ExecRequest, LoadImageRequest, LogsRequest, StatsRequest } from '@berth/contracts/scheduler';
import { Availability, NodeView, Service, Stack, TaskView } from '@berth/contracts/scheduler';
import { DesiredState, Task, TaskState, TaskStatus } from '@berth/contracts/workload';
import type { CallerContext } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeCluster } from './testing/fake-cluster.ts';

// `berth` as a process, against a control plane that does what a test says. What needs containers is in e2e/.

type Call = CallerContext & { readonly signal: AbortSignal };
type Control = Parameters<FakeCluster['scheduler']>[0];

const compiled = mkdtempSync(join(tmpdir(), 'berth-cli-compiled-'));
afterAll(() => rmSync(compiled, { recursive: true, force: true }));

let cluster: FakeCluster;
beforeEach(async () => {
  cluster = await FakeCluster.start(compiled);
});
afterEach(() => cluster.stop());

const task = (slot: number, nodeId: string, state: TaskState = TaskState.TASK_STATE_RUNNING): TaskView =>
  TaskView.fromPartial({
    task: Task.fromPartial({
      id: `task${slot}${nodeId}`,
      namespace: 'default',
      stack: 'app',
      service: 'web',
      serviceId: 'w',
      slot,
      nodeId,
      desired: DesiredState.DESIRED_STATE_RUNNING,
      state: TaskState.TASK_STATE_ASSIGNED,
    }),
    status: TaskStatus.fromPartial({ state }),
  });

const node = (id: string, over: Partial<NodeView> = {}): NodeView =>
  NodeView.fromPartial({ id: `${id}000`, hostname: id, status: 'ready', ...over });

const ofApp: Control = {
  listStacks: async () => ({ stacks: [Stack.fromPartial({ name: 'app', namespace: 'default' })], revision: undefined }),
  listServices: async () => ({
    services: [Service.fromPartial({ stack: 'app', name: 'web', namespace: 'default' })],
    revision: undefined,
  }),
  listTasks: async () => ({ tasks: [task(1, 'h1000'), task(2, 'h2000')], revision: undefined }),
  listNodes: async () => ({ nodes: [node('h1', { manager: true }), node('h2')] }),
};

/** A registry, and a scheduler with a stack `app` of one service `web`, with more as a test says. */
async function begin(control: Control = {}, registry: Parameters<FakeCluster['registry']> = []) {
  const { address } = await cluster.registry(...registry);
  await cluster.context('default', [address]);
  return cluster.scheduler({ ...ofApp, ...control });
}

describe('who does not answer', () => {
  it('ends the command with 4 and says who and what to do', async () => {
    await cluster.context('default', ['127.0.0.1:1', '127.0.0.1:2']);
    const { code, stderr } = await cluster.shell('berth ps -o json');
    expect([code, JSON.parse(stderr)]).toEqual([
      4,
      {
        error: expect.stringContaining('no registry of context default answers (127.0.0.1:1, 127.0.0.1:2)'),
        remedy: expect.stringContaining('control plane'),
        exitCode: 4,
      },
    ]);
  });

  it('is passed over for another registry, and one that was not known is noted', async () => {
    await begin();
    const second = await cluster.registry();
    const [first = ''] = cluster.members.get('registry') ?? [];
    await cluster.context('default', ['127.0.0.1:1', first]);
    expect((await cluster.shell('berth ps')).code).toBe(0);
    expect(cluster.contexts.read('default').registries).toEqual(['127.0.0.1:1', first, second.address]);
  });

  it('may be a scheduler', async () => {
    const scheduler = await begin();
    await scheduler.stop();
    expect(await cluster.shell('berth ps')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining(scheduler.address),
    });
    cluster.members.delete('scheduler');
    expect(await cluster.shell('berth ps')).toMatchObject({ code: 4, stderr: expect.stringMatching(/scheduler/u) });
  });

  it('contexts are listed, chosen and forgotten', async () => {
    await cluster.context('work', ['127.0.0.1:1']);
    await cluster.context('home', ['127.0.0.1:2']);
    expect((await cluster.shell('berth context ls')).stdout).toMatch(/\* +home .*\n +work /u);
    expect((await cluster.shell('berth context use work && berth context rm home && berth context ls')).stdout).toMatch(
      /\* +work/u,
    );
    expect(await cluster.shell('berth context use nowhere')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('choose one of: work'),
    });
  });
});

it('--lenient skips keys that Berth does not know, and names each with its place', async () => {
  const file = join(cluster.folder, 'compose.yaml');
  writeFileSync(file, 'name: app\nservices:\n  web:\n    image: nginx:1\n    container_name: x\n    tty: true\n');
  const images: (string | undefined)[] = [];
  await begin({
    planStack: async ({ spec }) => {
      images.push(...(spec?.services ?? []).map(({ container }) => container?.image));
      return { changes: [], version: 0, revision: undefined };
    },
  });
  expect(await cluster.shell(`berth plan -f ${file}`)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('2 problems; nothing was applied'),
  });
  const lenient = await cluster.shell(`berth plan --lenient -f ${file} -o json`);
  const { warnings } = JSON.parse(lenient.stderr) as { warnings: { line: number; key: string }[] };
  expect([lenient.code, warnings.map(({ line, key }) => [line, key]), images]).toEqual([
    0,
    [
      [5, 'services.web.container_name'],
      [6, 'services.web.tty'],
    ],
    ['nginx:1'],
  ]);
});

describe('node', () => {
  it('drain follows what is left until nothing is, and says in time why not', async () => {
    let left = 2;
    const set: [string, Availability][] = [];
    await begin({
      setAvailability: async ({ node: name, availability }) => {
        set.push([name, availability]);
        return { node: node('h2', { availability }), revision: undefined };
      },
      listTasks: async () => {
        left = Math.max(0, left - 1);
        return { tasks: [task(1, 'h1000'), ...(left > 0 ? [task(2, 'h2000')] : [])], revision: undefined };
      },
    });
    expect(await cluster.shell('berth node drain h2')).toMatchObject({
      code: 0,
      stdout: 'node h2 is drained\n',
      stderr: expect.stringContaining('app_web.2'),
    });
    left = Number.POSITIVE_INFINITY;
    expect(await cluster.shell('berth node drain h2 --timeout 1s')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('app_web.2: waits for its turn'),
    });
    expect((await cluster.shell('berth node drain h2 --detach')).code).toBe(0);
    expect((await cluster.shell('berth node activate h2 && berth node pause h2')).stdout).toBe(
      'node h2 is active\nnode h2 is paused\n',
    );
    const { AVAILABILITY_ACTIVE, AVAILABILITY_DRAIN, AVAILABILITY_PAUSE } = Availability;
    const drains = Array.from({ length: 3 }, () => ['h2', AVAILABILITY_DRAIN]);
    expect(set).toEqual([...drains, ['h2', AVAILABILITY_ACTIVE], ['h2', AVAILABILITY_PAUSE]]);
  });

  it('label sets and removes, rm refuses with tasks, resume ends the brake that ls shows', async () => {
    const calls: unknown[] = [];
    await begin({}, [
      {
        listNodes: async () => ({
          nodes: [],
          revision: undefined,
          brake: { nodeIds: ['h2000'], sinceMs: Date.UTC(2026, 0, 1) },
        }),
      },
      {
        updateNode: async ({ nodeId, setLabels, removeLabels }) => {
          calls.push([nodeId, setLabels, removeLabels]);
          return { node: undefined };
        },
        removeNode: async ({ force }) => {
          if (!force)
            throw new BerthError('FailedPrecondition', '2 tasks are to run there', { reason: 'NODE_HAS_TASKS' });
          return { node: undefined };
        },
        resume: async () => ({ nodeIds: ['h2000'] }),
      },
    ]);
    expect((await cluster.shell('berth node label h2 disk=ssd zone-')).code).toBe(0);
    expect(calls).toEqual([['h2', { disk: 'ssd' }, ['zone']]]);
    expect((await cluster.shell('berth node label h2 disk')).code).toBe(2);
    const refused = await cluster.shell('berth node rm h2');
    expect([refused.code, refused.stderr]).toEqual([6, expect.stringContaining('berth node drain h2')]);
    expect((await cluster.shell('berth node rm --force h2')).code).toBe(0);
    const listed = await cluster.shell('berth node ls');
    expect(listed.stderr).toContain('brake: h2 silent at once since 2026-01-01');
    expect(listed.stdout).toMatch(/h1 +ready +active +manager/u);
    expect((await cluster.shell('berth cluster resume')).stdout).toContain('h2 may be declared lost');
  });
});

describe('logs', () => {
  it('go on with another scheduler, without a line lost or doubled', async () => {
    const all = Array.from({ length: 20 }, (_, index) => ({
      atMs: 100 + Math.floor(index / 3),
      line: `line ${index}`,
    }));
    const served: string[] = [];
    const logsOf = (name: string): Control => ({
      async *logs(request: LogsRequest, { signal }: Call) {
        served.push(name);
        const count = served.length === 1 ? 8 : all.length;
        for (const { atMs, line } of all.filter((each) => each.atMs >= request.sinceMs).slice(0, count))
          yield { taskId: 't', taskName: 'web.1', stderr: false, line: Buffer.from(line), atMs, notice: '' };
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
      },
    });
    const replicas = { a: await begin(logsOf('a')), b: await cluster.scheduler({ ...ofApp, ...logsOf('b') }) };
    const following = cluster.start('berth logs -f app');
    await following.until(/line 7$/mu);
    await replicas[served[0] as 'a' | 'b'].stop();
    await following.until(/line 19$/mu);
    following.signal('SIGINT');
    const { code, stdout, stderr } = await following.ended;
    expect(stdout.trim().split('\n')).toEqual(all.map(({ line }) => `web.1 | ${line}`));
    expect([code, new Set(served).size, stderr]).toEqual([0, 2, expect.stringContaining('trying again')]);
  });

  it('wait with another scheduler too before there is a line, and ask for no more than what may be missing', async () => {
    const served: { name: string; sinceMs: number; tail: number | undefined }[] = [];
    const beganMs = Date.now();
    const [long, recent] = [beganMs + 86_400_000, beganMs + 4 * 86_400_000];
    const logsOf = (name: string): Control => ({
      async *logs({ sinceMs, tail }: LogsRequest, { signal }: Call) {
        served.push({ name, sinceMs, tail });
        const line = (taskId: string, atMs: number) => ({
          ...{ taskId, taskName: taskId, stderr: false, atMs, notice: '' },
          line: Buffer.from(`at ${atMs}`),
        });
        if (served.length === 2) yield* [line('web.1', long), line('web.2', recent)];
        if (served.length === 3) yield line('web.2', recent + 1);
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
      },
    });
    const replicas = new Map([
      ['a', await begin(logsOf('a'))],
      ['b', await cluster.scheduler({ ...ofApp, ...logsOf('b') })],
      ['c', await cluster.scheduler({ ...ofApp, ...logsOf('c') })],
    ]);
    const following = cluster.start('berth logs -f --tail 0 app');
    while (served.length === 0) await sleep(20);
    await replicas.get(served[0]?.name ?? '')?.stop();
    await following.until(new RegExp(`at ${recent}$`, 'mu'));
    await replicas.get(served[1]?.name ?? '')?.stop();
    await following.until(new RegExp(`at ${recent + 1}$`, 'mu'));
    following.signal('SIGINT');
    expect((await following.ended).code).toBe(0);
    const [first, second, third] = served;
    expect([first?.tail, second?.tail, third]).toEqual([
      0,
      undefined,
      { name: expect.any(String), sinceMs: recent - 60_000, tail: undefined },
    ]);
    expect(second?.sinceMs).toBeGreaterThanOrEqual(beganMs);
  });

  it('name on standard error whose output is missing, and end with 4', async () => {
    await begin({
      async *logs() {
        const named = { taskId: 't', taskName: 'web.1', stderr: false };
        yield { ...named, line: Buffer.from('here'), atMs: 1, notice: '' };
        yield { ...named, taskName: 'web.2', line: Buffer.alloc(0), atMs: 2, notice: 'h2: node h2 is lost' };
      },
    });
    expect(await cluster.shell('berth logs app')).toEqual({
      code: 4,
      stdout: 'web.1 | here\n',
      stderr: 'berth: no output of web.2: h2: node h2 is lost\n',
    });
    expect((await cluster.shell('berth logs app --tail x')).code).toBe(2);
  });
});

describe('exec', () => {
  /** Says back what it gets; the end of its input ends it with 3, a `q` with 7. */
  const echo: Control = {
    async *exec(requests) {
      for await (const { step } of requests as AsyncIterable<ExecRequest>) {
        if (step?.$case === 'start') {
          const { tty, size, command } = step.value;
          yield stdout(`start ${command.join(' ')} ${tty} ${size?.columns}x${size?.rows}\r\n`);
        }
        if (step?.$case === 'size') yield stdout(`size ${step.value.columns}x${step.value.rows}\r\n`);
        if (step?.$case === 'stdin') yield stdout(`${JSON.stringify(step.value.toString())}\r\n`);
        if (step?.$case === 'stdinEnd') yield stdout('end\r\n');
        const code =
          step?.$case === 'stdinEnd' ? 3 : step?.$case === 'stdin' && step.value.includes('q') ? 7 : undefined;
        if (code === undefined) continue;
        yield { step: { $case: 'exitCode', value: code } };
        return;
      }
    },
  };
  const stdout = (text: string) => ({ step: { $case: 'stdout' as const, value: Buffer.from(text) } });

  it('without a terminal: input to its end, output, exit code', async () => {
    await begin(echo);
    expect(await cluster.shell('printf ab | berth exec -i app_web.1 cat -n')).toMatchObject({
      code: 3,
      stdout: 'start cat -n false undefinedxundefined\r\n"ab"\r\nend\r\n',
    });
    // Without -i nothing is read: the loop's own input is left alone.
    expect(
      (await cluster.shell("printf 'x\\n' | { berth exec app_web.1 true > /dev/null; read line; echo $line; }")).stdout,
    ).toBe('x\n');
    expect(await cluster.shell('berth exec -t app_web.1 sh')).toMatchObject({ code: 2 });
  });

  it('ends with the command, whoever still writes; with 4 when the connection ends', async () => {
    const scheduler = await begin(echo);
    const one = cluster.start('berth exec -i app_web.1 x');
    one.write('q');
    expect((await one.ended).code).toBe(7);
    const other = cluster.start('berth exec -i app_web.1 x');
    await other.until(/start x/u);
    await scheduler.stop();
    expect((await other.ended).code).toBe(4);
  });

  it('with a terminal: raw keys, size, new sizes, and the local terminal as it was', async () => {
    await begin(echo);
    const running = cluster.start(
      cluster.inTerminal(`
        echo $$ > ${cluster.folder}/pid
        berth exec -it app_web.1 sh
        echo code $?
        stty -a | grep -o -- '.icanon'`),
    );
    await running.until(/start sh true 101x31/u);
    running.write('\u0003');
    await running.until(/"\\u0003"/u);
    await cluster.shell(`stty cols 77 rows 22 < /proc/$(cat ${cluster.folder}/pid)/fd/0`);
    await running.until(/size 77x22/u);
    running.write('q');
    expect((await running.ended).stdout).toMatch(/code 7\s+ icanon/u);
  });

  it('gives the terminal back when it is killed', async () => {
    await begin(echo);
    const running = cluster.start(
      cluster.inTerminal(`
        sh -c 'echo $$ > ${cluster.folder}/pid; exec berth exec -it app_web.1 sh'
        echo code $?
        stty -a | grep -o -- '.icanon'`),
    );
    await running.until(/start sh/u);
    await cluster.shell(`kill $(cat ${cluster.folder}/pid)`);
    expect((await running.ended).stdout).toMatch(/code 143\s+ icanon/u);
  });
});

describe('images', () => {
  it('are sent whole; a node that fails is named; exit code 3', async () => {
    let bytes = 0;
    let ends = 0;
    let nodes: string[] = [];
    await begin({
      async *loadImage(requests) {
        for await (const { step } of requests as AsyncIterable<LoadImageRequest>) {
          if (step?.$case === 'start') {
            nodes = step.value.nodes;
            yield { nodeId: '3', hostname: 'h3', bytes: 0, outcome: { $case: 'failed', value: 'no answer' } };
          }
          if (step?.$case === 'chunk') bytes += step.value.length;
          if (step?.$case === 'end') ends += 1;
        }
        if (bytes === 0) throw new BerthError('Cancelled', 'the transfer was cut off');
        const images = [{ name: 'a:1', id: 'sha256:1', present: false }];
        yield { nodeId: '1', hostname: 'h1', bytes, outcome: { $case: 'loaded', value: { images } } };
        yield { nodeId: '2', hostname: 'h2', bytes: 5, outcome: { $case: 'failed', value: 'no space left on device' } };
      },
    });
    const loaded = await cluster.shell('(sleep 1; head -c 3000000 /dev/zero) | berth image load --node h1 --node h2');
    expect(loaded).toMatchObject({ code: 3, stdout: 'a:1: on 1 of 3 node(s)\n' });
    expect(loaded.stderr).toContain('node h2: no space left on device');
    expect(loaded.stderr).toContain('node h3: no answer');
    expect([bytes, ends, nodes]).toEqual([3_000_000, 1, ['h1', 'h2']]);
    bytes = 0;
    expect((await cluster.shell('true | berth image load')).code).toBe(2);
    expect((await cluster.shell('berth image load -i /nowhere')).code).toBe(2);
    expect(ends).toBe(1);
  });

  it('come whole, and no file is made for one that is not there', async () => {
    await begin({
      async *saveImage({ name }) {
        if (name !== 'a:1') throw new BerthError('NotFound', `image ${name} is on none of the nodes asked`);
        for (let piece = 0; piece < 100; piece += 1)
          yield { chunk: Buffer.alloc(100_000, piece), hostname: piece === 0 ? 'h2' : '' };
      },
    });
    expect((await cluster.shell('berth image save a:1 | wc -c')).stdout.trim()).toBe('10000000');
    const file = `${cluster.folder}/a.tar`;
    expect((await cluster.shell(`berth image save a:1 --destination ${file} && wc -c < ${file}`)).stdout.trim()).toBe(
      '10000000',
    );
    expect(await cluster.shell(`berth image save b --destination ${file}2; ls ${file}2 2>&1 || true`)).toMatchObject({
      stderr: expect.stringContaining('on none of the nodes'),
      stdout: expect.stringContaining('No such file'),
    });
  });
});

describe('stats and completion', () => {
  it('stats are a table, or a line of JSON each', async () => {
    const requests: StatsRequest[] = [];
    await begin({
      async *stats(request) {
        requests.push(request);
        const usage = Usage.fromPartial({ cpuMillis: 125, memoryBytes: 2 ** 20, processes: 3 });
        const named = { stack: 'app', notice: '' };
        yield { ...named, taskId: '2', taskName: 'web.2', hostname: 'h2', usage };
        yield { ...named, taskId: '1', taskName: 'web.1', hostname: 'h1', usage };
      },
    });
    const { stdout } = await cluster.shell('berth stats app --no-stream');
    expect(stdout).toMatch(/app_web\.1 +h1 +12\.5% +1 MiB .* 3\napp_web\.2 +h2/u);
    const lines = (await cluster.shell('berth stats -o json')).stdout.trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { name: string }).name)).toEqual(['web.2', 'web.1']);
    expect(requests.map(({ stack, follow }) => [stack, follow])).toEqual([
      ['app', false],
      ['', true],
    ]);
  });

  it('names are completed live, and a cluster that does not answer costs little', async () => {
    const scheduler = await begin();
    expect((await cluster.shell('berth __complete -- exec app_')).stdout).toBe(
      'app_web.1\ttask, running\napp_web.2\ttask, running\n',
    );
    expect((await cluster.shell("berth __complete -- node drain ''")).stdout).toBe(
      'h1\tnode, ready\nh2\tnode, ready\n',
    );
    await scheduler.stop();
    const started = performance.now();
    expect(await cluster.shell('berth __complete -- exec app_')).toMatchObject({ code: 0, stdout: '' });
    expect(performance.now() - started).toBeLessThan(8_000);
  });
});
