import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerState, RuntimeHint } from '@berth/kernel';
import type { Host, Lab } from '@berth/testing-hosts';
import { createLab, run } from '@berth/testing-hosts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FixtureOptions } from '../domain/assignment-fixture.ts';
import { assignmentFixture } from '../domain/assignment-fixture.ts';
import { planRun } from '../domain/run-plan.ts';
import type { PreparedNetworks } from '../domain/task-network.ts';
import { DockerCalls } from './docker-calls.ts';
import { DockerNetworks } from './docker-networks.ts';
import { DockerRuntime } from './docker-runtime.ts';

const node = { clusterId: 'cluster1', nodeId: 'node1', hostname: 'h1' };
const never = new AbortController().signal;

let lab: Lab;
let host: Host;
let calls: DockerCalls;
let runtime: DockerRuntime;
let networks: DockerNetworks;

beforeAll(async () => {
  lab = await createLab();
  host = lab.hosts[0]!;
  const files = ['/bin/sh', '/bin/sleep', '/bin/cat', '/bin/stty', '/bin/hostname'];
  const libraries = ['/lib64/ld-linux-x86-64.so.2', '/lib/x86_64-linux-gnu/libc.so.6'];
  const more = '/lib/x86_64-linux-gnu/libselinux.so.1 /lib/x86_64-linux-gnu/libpcre2-8.so.0';
  await run([
    'sh',
    '-c',
    `tar --ignore-failed-read -chf - ${[...files, ...libraries].join(' ')} ${more} | docker -H ${host.dockerHost} import - test/shell`,
  ]);
  calls = new DockerCalls({ socketPath: host.socket });
  runtime = new DockerRuntime(calls, node.clusterId);
  networks = new DockerNetworks(calls, node.clusterId);
}, 60_000);

afterAll(() => lab.down());

function shell(id: string, script: string, options: FixtureOptions = {}, joins?: PreparedNetworks, number = 1) {
  const assignment = assignmentFixture(id, {
    ...options,
    container: { command: { values: ['/bin/sh', '-c', script] }, ...options.container },
  });
  return planRun(assignment, number, node, joins);
}

async function launch(plan: ReturnType<typeof shell>): Promise<ContainerState> {
  await runtime.prepare(plan, never);
  const state = await runtime.inspect(await runtime.start(plan, never));
  if (state === undefined) throw new Error(`${plan.name} vanished`);
  return state;
}

async function until(id: string, condition: (state: ContainerState) => boolean): Promise<ContainerState> {
  for (let i = 0; i < 200; i += 1) {
    const state = await runtime.inspect(id);
    if (state && condition(state)) return state;
    await sleep(50);
  }
  throw new Error(`not so within 10 s: ${JSON.stringify(await runtime.inspect(id))}`);
}

test('a container is created, started once, stopped by its signal and removed', async () => {
  const plan = shell('stop', 'trap "exit 3" USR1; while :; do sleep 0.1; done', {
    container: { stopSignal: 'SIGUSR1', stopGracePeriodMs: 20_000 },
  });
  const first = await launch(plan);
  expect(first).toMatchObject({ name: 'berth-stop-1', phase: { kind: 'running' }, health: 'none' });
  expect(first.labels).toMatchObject({ 'berth.cluster': 'cluster1', 'berth.task': 'stop', 'berth.run': '1' });
  expect((await launch(plan)).id).toBe(first.id);
  await runtime.stop(first.id);
  expect((await runtime.inspect(first.id))?.phase).toMatchObject({ kind: 'exited', exitCode: 3 });
  await runtime.stop(first.id);
  await runtime.remove(first.id);
  await runtime.remove(first.id);
  expect(await runtime.inspect(first.id)).toBeUndefined();
});

test('an image that is nowhere is a refusal with a remedy', async () => {
  const plan = shell('noimage', 'true', { container: { image: 'nowhere/nothing:1' } });
  await expect(runtime.prepare(plan, never)).rejects.toMatchObject({
    code: 'FailedPrecondition',
    reason: 'IMAGE_MISSING',
    message: expect.stringContaining('Remedy'),
  });
});

test('a program that is not there is a run that failed, with the reason', async () => {
  const plan = shell('noprogram', '', { container: { command: { values: ['/no/such/program'] } } });
  const state = await launch(plan);
  expect(state.phase).toMatchObject({ kind: 'exited', exitCode: 127, error: expect.stringContaining('/no/such') });
  await runtime.remove(state.id);
});

test('health comes from the engine', async () => {
  const check = { disable: false, intervalMs: 1000, timeoutMs: 1000, retries: 1, startPeriodMs: 0 };
  const good = await launch(
    shell('good', 'sleep 60', { container: { healthcheck: { ...check, test: ['CMD-SHELL', 'exit 0'] } } }),
  );
  const bad = await launch(
    shell('bad', 'sleep 60', { container: { healthcheck: { ...check, test: ['CMD-SHELL', 'echo no; exit 1'] } } }),
  );
  expect(good.health).toBe('starting');
  await until(good.id, (s) => s.health === 'healthy');
  expect((await until(bad.id, (s) => s.health === 'unhealthy')).healthOutput).toBe('no');
  await Promise.all([runtime.remove(good.id), runtime.remove(bad.id)]);
});

test('hints begin with a gap and tell of starts and ends', async () => {
  const abort = new AbortController();
  const hints: RuntimeHint[] = [];
  const watching = (async () => {
    for await (const hint of runtime.watch(abort.signal)) hints.push(hint);
  })();
  while (hints.length === 0) await sleep(20);
  expect(hints).toEqual([{ kind: 'gap' }]);
  const { id } = await launch(shell('hint', 'exit 7'));
  await until(id, (s) => s.phase.kind === 'exited');
  await sleep(200);
  expect(hints.filter((h) => h.kind === 'container' && h.id === id).length).toBeGreaterThanOrEqual(2);
  const check = {
    disable: false,
    test: ['CMD-SHELL', 'exit 0'],
    intervalMs: 1000,
    timeoutMs: 0,
    retries: 0,
    startPeriodMs: 0,
  };
  const checked = await launch(shell('verdict', 'sleep 60', { container: { healthcheck: check } }));
  await until(checked.id, (s) => s.health === 'healthy');
  await sleep(2_500);
  // create, start, the first verdict: the checks themselves are no news.
  expect(hints.filter((h) => h.kind === 'container' && h.id === checked.id)).toHaveLength(2);
  await runtime.remove(checked.id);
  expect((await runtime.list()).find((c) => c.id === id)?.phase).toMatchObject({ kind: 'exited', exitCode: 7 });
  abort.abort();
  await watching;
  await runtime.remove(id);
});

test('two networks with fixed addresses, our DNS server, no search domain, no aliases', async () => {
  const specs = ['a', 'b'].map((name, i) => ({
    name: `berth-${name}`,
    bridge: `bttest${name}`,
    subnet: `198.18.${200 + i}.0/26`,
    gateway: `198.18.${200 + i}.1`,
    labels: { 'berth.network': name },
    options: {},
  }));
  for (const spec of [...specs, ...specs]) await networks.create(spec);
  const listed = await networks.list();
  expect(listed.map((n) => [n.name, n.bridge, n.subnet, n.gateway, n.labels['berth.network']])).toEqual(
    specs.map((s) => [s.name, s.bridge, s.subnet, s.gateway, s.labels['berth.network']]),
  );
  const joins = specs.map((spec, i) => ({
    networkId: `n${i}`,
    network: spec.name,
    dockerNetwork: spec.name,
    ip: spec.subnet.replace('.0/26', '.9'),
  }));
  const prepared = { joins, dnsServers: ['198.18.200.1'], dnsOptions: ['timeout:1', 'attempts:5'] };
  const plan = shell('nets', 'cat /etc/resolv.conf /etc/hosts; hostname; sleep 60', {}, prepared);
  const own = { ...plan, container: { ...plan.container, networkMode: 0 as const }, hostname: 'web.1' };
  const { id } = await launch(own);
  const inspected = await calls.inspect(id);
  const addresses = Object.entries(inspected?.NetworkSettings.Networks ?? {}).map(([name, n]) => [name, n.IPAddress]);
  expect(Object.fromEntries(addresses)).toEqual({ 'berth-a': '198.18.200.9', 'berth-b': '198.18.201.9' });
  expect(inspected?.HostConfig.Dns).toEqual(['198.18.200.1']);
  await sleep(300);
  const text = (await lines(id)).join('\n');
  expect(text).toContain('nameserver 127.0.0.11');
  expect(text).toMatch(/^options .*timeout:1 attempts:5/m);
  expect(text).not.toMatch(/^search/m);
  expect(text).toContain('198.18.200.9\tweb.1');
  await expect(networks.remove('berth-a')).rejects.toMatchObject({ code: 'Conflict', reason: 'NETWORK_IN_USE' });
  await runtime.remove(id);
  for (const spec of [...specs, ...specs]) await networks.remove(spec.name);
  expect(await networks.list()).toEqual([]);
});

async function lines(id: string, options: { tail?: number; sinceMs?: number } = {}): Promise<string[]> {
  const found: string[] = [];
  const all = { follow: false, sinceMs: 0, signal: never, ...options };
  for await (const line of runtime.logs(id, all)) {
    found.push(`${line.stderr ? 'E ' : ''}${new TextDecoder().decode(line.line)}`);
  }
  return found;
}

test('logs come by lines, from both outputs, from the tail, and followed to the end', async () => {
  const long = 'x'.repeat(40_000);
  const { id } = await launch(
    shell('logs', `echo one; echo two >&2; echo ${long.slice(0, 100)}; printf last; sleep 0.3; echo`),
  );
  const followed: string[] = [];
  for await (const line of runtime.logs(id, { follow: true, sinceMs: 0, signal: never })) {
    followed.push(new TextDecoder().decode(line.line));
    expect(Math.abs(line.atMs - Date.now())).toBeLessThan(60_000);
  }
  expect(followed.toSorted()).toEqual(['last', 'one', 'two', 'x'.repeat(100)].toSorted());
  expect((await lines(id)).toSorted()).toEqual(['E two', 'last', 'one', 'x'.repeat(100)].toSorted());
  expect(await lines(id, { tail: 1 })).toEqual(['last']);
  await runtime.remove(id);
});

test('exec of a program that is not there ends as in a shell', async () => {
  const { id } = await launch(shell('exec-none', 'sleep 60'));
  const options = { tty: false, environment: [], user: '', workingDir: '', size: undefined };
  const { output } = await runtime.exec(id, { ...options, command: ['/nowhere'] });
  let code: number | undefined;
  for await (const piece of output) if (piece.kind === 'exit') code = piece.code;
  expect([126, 127]).toContain(code);
  await runtime.remove(id);
});

test('exec: input, both outputs, exit code; with a terminal: its size', async () => {
  const { id } = await launch(shell('exec', 'sleep 60'));
  const exec = async (script: string, tty: boolean, input?: string) => {
    const session = await runtime.exec(id, {
      command: ['/bin/sh', '-c', script],
      tty,
      environment: ['A=b'],
      user: '',
      workingDir: '',
      size: { columns: 81, rows: 19 },
    });
    if (input !== undefined) {
      await session.write(new TextEncoder().encode(input));
      session.endInput();
    }
    const result = { stdout: '', stderr: '', code: -1 };
    for await (const piece of session.output) {
      if (piece.kind === 'exit') result.code = piece.code;
      else result[piece.kind] += new TextDecoder().decode(piece.data);
    }
    return result;
  };
  expect(await exec('cat; echo $A >&2; exit 5', false, 'hello')).toEqual({ stdout: 'hello', stderr: 'b\n', code: 5 });
  expect(await exec('sleep 0.2; stty size; exit 0', true)).toMatchObject({ stdout: '19 81\r\n', code: 0 });
  // The end of the input is not the end of a terminal, nor the end of the outputs that of the command.
  expect(await exec('sleep 1; stty size; exit 4', true, '')).toMatchObject({ stdout: '19 81\r\n', code: 4 });
  expect(await exec('exec >&- 2>&-; sleep 3; exit 6', false)).toMatchObject({ code: 6 });
  await runtime.remove(id);
  await expect(exec('true', false)).rejects.toMatchObject({ code: 'NotFound' });
});

test('published ports come back with real numbers; limits, volumes and mounts are set', async () => {
  const ports = [
    { target: 80, published: 0, protocol: 1 as const, hostIp: '127.0.0.1' },
    { target: 53, published: 15353, protocol: 2 as const, hostIp: '127.0.0.1' },
  ];
  const mounts = [
    { type: 1 as const, source: 'data', target: '/data' },
    { type: 2 as const, source: '/tmp/made-by-the-engine', target: '/bind', createHostPath: true, readOnly: true },
    { type: 3 as const, source: '', target: '/scratch', tmpfsSizeBytes: 1_048_576 },
  ].map((m) => ({
    readOnly: false,
    propagation: '',
    tmpfsSizeBytes: 0,
    tmpfsMode: 0,
    createHostPath: false,
    volumeNocopy: false,
    relativeSource: '',
    ...m,
  }));
  const assignment = assignmentFixture('ports', {
    spec: { ports, limits: { cpuMillis: 500, memoryBytes: 64 << 20 } },
    container: { networkMode: 0, mounts, command: { values: ['/bin/sleep', '60'] } },
    assignment: { volumes: [{ name: 'data', driver: '', driverOpts: {}, labels: { a: 'b' }, externalName: '' }] },
  });
  await networks.create({
    name: 'berth-p',
    bridge: 'bttestp',
    subnet: '198.18.202.0/26',
    gateway: '198.18.202.1',
    labels: {},
    options: {},
  });
  const joins = [{ networkId: 'p', network: 'p', dockerNetwork: 'berth-p', ip: '198.18.202.9' }];
  const plan = planRun(assignment, 1, node, { joins, dnsServers: ['198.18.202.1'], dnsOptions: [] });
  const state = await launch(plan);
  expect(state.ports.map((p) => [p.target, p.protocol, p.hostIp])).toEqual([
    [53, 'udp', '127.0.0.1'],
    [80, 'tcp', '127.0.0.1'],
  ]);
  expect(state.ports[0]?.published).toBe(15353);
  expect(state.ports[1]?.published).toBeGreaterThan(0);
  const inspected = await calls.inspect(state.id);
  expect(inspected?.HostConfig).toMatchObject({ NanoCpus: 500_000_000, Memory: 64 << 20 });
  expect(inspected?.Mounts.map((m) => [m.Type, m.Name ?? m.Source, m.Destination, m.RW]).toSorted()).toEqual([
    ['bind', '/tmp/made-by-the-engine', '/bind', false],
    ['tmpfs', '', '/scratch', true],
    ['volume', 'shop_data', '/data', true],
  ]);
  expect(await runtime.removeVolume('shop_data')).toBe('in-use');
  await runtime.remove(state.id);
  expect(await runtime.removeVolume('shop_data')).toBe('removed');
  expect(await runtime.removeVolume('shop_data')).toBe('absent');
  await networks.remove('berth-p');
});

test('the host is described, and an engine that goes and comes back costs a gap', async () => {
  const facts = await runtime.facts();
  expect(facts).toMatchObject({ os: 'linux', hostname: 'h1' });
  expect(facts.cpuMillis).toBeGreaterThan(0);
  expect(facts.memoryBytes).toBeGreaterThan(1 << 20);
  const abort = new AbortController();
  let gaps = 0;
  const watching = (async () => {
    for await (const hint of runtime.watch(abort.signal)) if (hint.kind === 'gap') gaps += 1;
  })();
  while (gaps === 0) await sleep(20);
  await host.killEngine();
  await expect(runtime.list()).rejects.toMatchObject({ code: 'Unavailable' });
  await host.startEngine();
  for (let i = 0; gaps < 2 && i < 100; i += 1) await sleep(100);
  expect(gaps).toBe(2);
  abort.abort();
  await watching;
});
