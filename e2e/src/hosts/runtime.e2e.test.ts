import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecResult } from '@berth/testing-hosts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../cluster.ts';
import { retry } from '../cluster.ts';
import type { Rig } from './rig.ts';
import { startRig } from './rig.ts';

// From the manager's terminal into tasks and images of every host.
let rig: Rig;
let cluster: Cluster;
const text = `
name: app
services:
  web:
    image: busybox:latest
    command: ["sh", "-c", "hostname; for i in 1 2 3 4 5; do echo line $$i; sleep 0.2; done; exec sleep 100000"]
    environment: { TOKEN: very-secret }
    stop_signal: SIGKILL
    deploy: { replicas: 6 }
`;
const names = ['web.1', 'web.2', 'web.3', 'web.4', 'web.5', 'web.6'];
const image = 'berth-e2e/tool:1';
const otherImage = 'berth-e2e/one:2';

beforeAll(async () => {
  rig = await startRig();
  cluster = rig.cluster;
  await rig.up(text);
  await rig.judge.settled({ withinMs: 30_000 });
  await sleep(1_500);
});
afterAll(async () => {
  await rig.down('app');
  for (const host of cluster.hosts) await host.tryExec(['docker', 'rmi', image, otherImage]);
  await rig.judge.settled();
});

/** A shell line on the manager, where `berth` and `docker` are. */
function shell(line: string, signal?: AbortSignal): Promise<ExecResult> {
  const script = `berth() { ${process.execPath} ${cluster.cli} "$@"; }; ${line}`;
  return cluster.host.tryExec(['bash', '-c', script], {
    env: { BERTH_CONFIG_DIR: cluster.configDir, NO_COLOR: '1', TERM: 'xterm' },
    ...(signal ? { signal } : {}),
  });
}

interface TaskLine {
  readonly task: { readonly id: string; readonly slot: number; readonly nodeId: string };
}

/** The name of a task that runs on another host than the manager, and that host's. */
async function elsewhere(): Promise<{ readonly task: string; readonly id: string; readonly hostname: string }> {
  const nodes = await cluster.json<readonly { id: string; hostname: string; manager: boolean }[]>(['node', 'ls']);
  const tasks = await cluster.json<readonly TaskLine[]>(['ps', 'app']);
  for (const { task } of tasks) {
    const node = nodes.find(({ id }) => id === task.nodeId);
    if (node && !node.manager) return { task: `app_web.${task.slot}`, id: task.id, hostname: node.hostname };
  }
  throw new Error('all tasks run on the manager');
}

describe('logs', () => {
  it('of all replicas on all hosts come merged, by time', async () => {
    const lines = (await cluster.berth(['logs', 'app', '--output', 'json']))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; atMs: number; line: string });
    expect([...new Set(lines.map(({ name }) => name))].sort()).toEqual(names);
    expect(lines).toHaveLength(36);
    const times = lines.map(({ atMs }) => atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const short = await cluster.berth(['logs', 'app_web', '--tail', '1']);
    expect(short.trim().split('\n').sort()).toEqual(names.map((name) => `${name} | line 5`));
    expect(await cluster.berth(['logs', 'app', '--since', '2099-01-01T00:00:00Z'])).toBe('');
    expect((await cluster.tryBerth(['logs', 'app', '--since', 'yesterday'])).code).toBe(2);
  });

  it('are followed to tasks that come to be, until Ctrl-C', async () => {
    const said = `${cluster.host.dir}/followed`;
    const more = text.replace('replicas: 6', 'replicas: 7');
    const { stdout } = await shell(`
      ${process.execPath} ${cluster.cli} logs -f --tail 0 app > ${said} & pid=$!
      sleep 3; berth up -d -f ${cluster.compose('app7', more)} > /dev/null
      for i in $(seq 100); do grep -q 'web.7 | line 5' ${said} && break; sleep 0.3; done
      kill -INT $pid; wait $pid; echo code $?; cat ${said}`);
    await rig.up(text);
    expect(stdout).toMatch(/^code 0\n[\s\S]*web\.7 \| line 5$/mu);
    expect(stdout).not.toContain('web.1 |');
  });
});

describe('exec on another host', () => {
  it('passes input, output and the exit code on', async () => {
    const { task, id } = await elsewhere();
    expect(await shell(`printf 'a\\nb\\n' | berth exec -i ${task} wc -l`)).toMatchObject({ code: 0, stdout: '2\n' });
    expect(await shell(`berth exec ${id.slice(0, 10)} -- sh -c 'echo out; echo err >&2; exit 42'`)).toMatchObject({
      code: 42,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    // Input that goes on does not keep a command that has ended.
    const ended = await shell(`
      fifo=${cluster.host.dir}/fifo; mkfifo $fifo; sleep 60 > $fifo 2>/dev/null & writer=$!
      berth exec -i ${task} true < $fifo; echo code $?, $SECONDS s; kill $writer; rm $fifo`);
    expect(Number(/^code 0, (\d+) s$/mu.exec(ended.stdout)?.[1])).toBeLessThan(20);
  });

  it('takes megabytes each way', async () => {
    const { task } = await elsewhere();
    const { stdout } = await shell(`head -c 5000000 /dev/zero | berth exec -i ${task} cat | wc -c`);
    expect(stdout.trim()).toBe('5000000');
  });

  it('has a real terminal: size, new sizes, Ctrl-C, exit code, and leaves the local one as it was', async () => {
    const { task } = await elsewhere();
    const said = `${cluster.host.dir}/typescript`;
    const seen = `seen() { while ! grep -qa -- "$1" ${said}; do sleep 0.2; done; }; rm -f ${said}; touch ${said}`;
    const inTerminal = (line: string) => `script -qfec ${quote(`stty cols 101 rows 31; ${line}`)} ${said}`;
    const berth = `${process.execPath} ${cluster.cli}`;
    // The engine sets the size just after the program's start.
    const watch =
      'tty; until stty size 2>/dev/null | grep -q 31; do sleep 0.1; done; stty size; while [ "$(stty size)" = "31 101" ]; do sleep 0.2; done; stty size; exit 9';
    const sized = await shell(
      `${seen}; (seen "^code [0-9]") | ${inTerminal(
        `(${seen.slice(0, seen.indexOf('; rm'))}; seen "^31 101"; stty cols 77 rows 22 < /dev/tty) & ` +
          `${berth} exec -t ${task} sh -c ${quote(watch)}; echo code $?`,
      )}`,
    );
    expect(sized.stdout).toMatch(/\/dev\/pts\/\d+\s+31 101\s+22 77\s+code 9/u);

    // What is typed goes there raw; Ctrl-C interrupts over there, not here.
    const typed = await shell(
      `${seen}; (seen '#'; printf 'echo r''eady; sleep 100\\r'; seen ready; sleep 0.5; printf '\\003'; sleep 0.5
         printf 'echo on $((40+2))\\r'; seen 'on 42'; printf 'exit 5\\r'; seen '^code 5') |
         ${inTerminal(`${berth} exec -it ${task} sh; echo code $?; stty -a | grep -o -- .icanon`)}`,
    );
    expect(typed.stdout).toMatch(/on 42[\s\S]*code 5\s+ icanon/u);
  });

  it('is refused to a reader, who may look; the agent notes who it was', async () => {
    const { task, id, hostname } = await elsewhere();
    await cluster.berth(['certificate', 'issue', 'reader', 'eve']);
    const asReader = (args: readonly string[]) => cluster.tryBerth(['--context', 'reader-eve', ...args]);
    expect((await asReader(['exec', task, 'env'])).code).toBe(5);
    expect((await asReader(['logs', task])).code).toBe(0);
    const inspected = await asReader(['inspect', task, '--output', 'json']);
    expect(inspected.stdout).toContain('TOKEN');
    expect(inspected.stdout).not.toContain('very-secret');
    await cluster.berth(['exec', task, '--', 'true']);
    await cluster.berth(['context', 'rm', 'reader-eve']);
    const host = cluster.hosts.find(({ name }) => name === hostname);
    const audit = (await host?.docker(['logs', 'berth-agent'])) ?? '';
    const about = audit.split('\n').filter((line) => line.includes(id));
    const by = (caller: string) => about.filter((line) => line.includes(caller)).join('\n');
    expect(by('reader:eve')).toMatch(/"logs"[\s\S]*"inspect"/u);
    expect(by('reader:eve')).not.toContain('"exec"');
    expect(by('operator:')).toContain('"exec"');
    expect(audit).not.toContain('very-secret');
  });
});

describe('inspect and stats', () => {
  it('show tasks, services, stacks, nodes, networks', async () => {
    const { task, hostname } = await elsewhere();
    const shown = await cluster.json<{ kind: string; hostname: string; container: { State: { Status: string } } }>([
      'inspect',
      task,
    ]);
    expect(shown).toMatchObject({ kind: 'task', hostname, container: { State: { Status: 'running' } } });
    type Shown = Readonly<Record<string, unknown>> & { readonly tasks?: unknown[]; readonly taskList?: unknown[] };
    const of = (name: string) => cluster.json<Shown>(['inspect', name]);
    const stack = await of('app');
    expect([stack['kind'], stack.tasks?.length]).toEqual(['stack', 6]);
    expect(await of('app_web')).toMatchObject({ kind: 'service', wanted: 6 });
    expect(await of('app_default')).toMatchObject({ kind: 'network', stack: 'app' });
    const node = await of(hostname);
    expect([node['kind'], node['hostname'], node.taskList?.length]).toEqual(['node', hostname, 2]);
    expect((await cluster.tryBerth(['inspect', 'nothing'])).code).toBe(2);
  });

  it('measure tasks of all hosts', async () => {
    const once = await cluster.json<readonly { name: string; memoryBytes: number; processes: number }[]>([
      'stats',
      'app',
      '--no-stream',
    ]);
    expect(once.map(({ name }) => name).sort()).toEqual(names);
    expect(once.every(({ memoryBytes, processes }) => memoryBytes > 0 && processes > 0)).toBe(true);
    const { stdout } = await shell(`timeout -s INT 10 ${process.execPath} ${cluster.cli} stats app -o json; true`);
    const lines = stdout.trim().split('\n');
    expect(lines.length).toBeGreaterThan(6);
    expect(lines.map((line) => (JSON.parse(line) as { name: string }).name)).toEqual(expect.arrayContaining(names));
  });
});

describe('images for hosts with no registry', () => {
  const tool = `
name: tool
services:
  tool:
    image: ${image}
    command: ["sleep", "100000"]
    stop_signal: SIGKILL
    deploy: { mode: global }
`;

  it('a missing one is rejected with the remedy, which brings it to all hosts, and all runs', async () => {
    await shell(
      `docker create --name make busybox:latest && docker commit -c 'LABEL e2e=1' make ${image} && docker rm make`,
    );
    const missing = await cluster.tryBerth(['up', '-f', cluster.compose('tool', tool), '--timeout', '5s']);
    expect(missing.code).toBe(3);
    await retry(60_000, async () => {
      const { stdout } = await cluster.tryBerth(['ps', 'tool']);
      expect(stdout).toContain(`image not on node, not in a registry: ${image}`);
      expect(stdout).toContain(`docker save ${image} | berth image load`);
    });

    const loaded = await shell(`docker save ${image} | berth image load`);
    expect([loaded.code, loaded.stdout]).toEqual([0, `${image}: on 3 of 3 node(s)\n`]);
    expect(loaded.stderr).toMatch(/h1 .*was there already/u);
    expect(loaded.stderr).toMatch(/h2 .*loaded/u);
    await cluster.berth(['up', '-f', cluster.compose('tool', tool), '--timeout', '60s']);
    rig.judge.promised(tool);
    await rig.judge.settled({ withinMs: 30_000 });
    await rig.down('tool');
  });

  it('go to the nodes that are named, and come back from them', async () => {
    const name = otherImage;
    await shell(`docker tag ${image} ${name}`);
    const loaded = await shell(`docker save ${name} | berth image load --node h2 -o json`);
    expect(JSON.parse(loaded.stdout)).toMatchObject([{ hostname: 'h2', images: [{ name, present: false }] }]);
    await shell(`docker rmi ${name}`);
    const back = await shell(`berth image save ${name} | docker load`);
    expect(back.stdout).toContain(`Loaded image: ${name}`);
    expect((await shell('berth image save berth-e2e/none:1 > /dev/null')).code).toBe(2);
    expect((await shell(`docker save berth-e2e/none:1 | berth image load`)).code).toBe(2);
    expect((await shell('echo this is no archive | berth image load --node h3')).code).toBe(3);
  });
});

describe('a host that is off', () => {
  it('is named, and the rest goes on: logs, stats, an image for the others', async () => {
    const [, off] = rig.others;
    await off.kill();
    const { code, stdout, stderr } = await cluster.tryBerth(['logs', 'app']);
    expect([code, stderr]).toEqual([4, expect.stringContaining(`${off.name}: `)]);
    expect(new Set(stdout.split('\n').map((line) => line.split(' ')[0])).size).toBeGreaterThanOrEqual(4);
    const sent = await shell(`docker save ${image} | berth image load --node h2 --node ${off.name}`);
    expect([sent.code, sent.stderr]).toEqual([3, expect.stringContaining(`node ${off.name}`)]);
    expect(sent.stdout).toContain('on 1 of 2 node(s)');
    await off.start();
    await rig.statuses({ [off.name]: 'ready' }, 60_000);
    await rig.judge.settled({ withinMs: 60_000 });
  });
});

function quote(line: string): string {
  return `'${line.replaceAll("'", `'\\''`)}'`;
}
