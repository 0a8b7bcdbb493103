// npm run lab -- COMMAND: real hosts on this machine to try Berth on, each with namespaces and a Docker Engine of its own.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Host, NamedLab } from '@berth/testing-hosts';
import { isRunning, namedLabs, sweepCrashed } from '@berth/testing-hosts';
import { ensurePrograms } from '../test/programs.ts';
import type { KeeperNews, KeeperOptions } from './keeper.ts';
import type { LabRequest, LabStatus } from './keeper-socket.ts';
import { ask } from './keeper-socket.ts';

const usage = `npm run lab -- COMMAND [--name NAME]

  up [--hosts 3] [--no-ha] [--bare]   start hosts h1… with Berth, the control plane on h1; --bare: with Docker alone
  ls                                  labs, their hosts, faults
  exec HOST [COMMAND…]                run a command, or a shell, on a host
  client [COMMAND…]                   the same beside the cluster: a terminal on its network, with an operator's context
  add                                 one more host; it joins
  kill HOST | start HOST              power off, power on; the disk stays
  freeze HOST | thaw HOST             nothing on it runs, its kernel answers
  partition HOST [--one-way from|to]  its cable drops everything, or all that it sends, or all that it is sent
  heal HOST
  cut HOST HOST [--one-way] [--port N]  the same between two; --port: TCP to that port of the second alone
  mend HOST HOST
  down [--all]                        power all off, nothing is left

HOST may be "client" where a cable is meant. The default name is "lab"; labs of other names run beside it.

Examples:
  npm run lab -- up --hosts 3
  npm run lab -- client berth node ls
  npm run lab -- exec h2 docker ps
`;

/** The user must do something else; the message says what. */
class UsageError extends Error {}

const downTimeoutMs = 60_000;
const bin = join(import.meta.dirname, '../../node_modules/.bin');

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(error instanceof UsageError ? `${message}\n\n${usage}` : `${message}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}

async function main(argv: readonly string[]): Promise<number> {
  const [command = 'help', ...rest] = argv;
  if (command === 'help' || command === '--help') {
    process.stdout.write(usage);
    return 0;
  }
  const lacking = await ensurePrograms();
  if (lacking !== undefined) throw new Error(lacking);
  await sweepCrashed();
  switch (command) {
    case 'up':
      return up(rest);
    case 'ls':
      return ls();
    case 'down':
      return down(rest);
    case 'exec':
    case 'client':
      return enter(command, rest);
    default:
      return order(command, rest);
  }
}

async function up(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parse(argv, {
    hosts: { type: 'string', default: '3' },
    'no-ha': { type: 'boolean', default: false },
    bare: { type: 'boolean', default: false },
  });
  const hosts = Number(values['hosts']);
  if (positionals.length > 0) throw new UsageError(`up takes no ${positionals[0]}`);
  if (!Number.isInteger(hosts) || hosts < 1) throw new UsageError(`--hosts ${values['hosts']} is no number of hosts`);
  const name = nameOf(values);
  if (namedLabs().some((lab) => lab.name === name)) throw new UsageError(`there is a lab ${name} already`);
  const options: KeeperOptions = { name, hosts, ha: values['no-ha'] !== true, bare: values['bare'] === true };
  const startedAt = performance.now();
  await startKeeper(options);
  const flag = name === 'lab' ? '' : ` --name ${name}`;
  process.stdout.write(`lab ${name} is up after ${((performance.now() - startedAt) / 1_000).toFixed(0)} s. Try:
  npm run -s lab -- ${options.bare ? `exec${flag} h1 docker images` : `client${flag} berth node ls`}
  npm run -s lab -- exec${flag} h2
  npm run lab -- down${flag}
`);
  return 0;
}

/** Resolves when the lab is up; it then lives on without this process. */
function startKeeper(options: KeeperOptions): Promise<void> {
  const keeper = spawn(process.execPath, [join(import.meta.dirname, 'keeper.ts'), JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    // No folder of the user's is held.
    cwd: '/',
  });
  // An interrupt ends this process, and the keeper sees that it is alone.
  return new Promise((resolve, reject) => {
    keeper.on('message', (news: KeeperNews) => {
      switch (news.kind) {
        case 'progress':
          process.stderr.write(`  ${news.text}\n`);
          return;
        case 'failed':
          return reject(new Error(news.text));
        case 'up':
          if (keeper.connected) keeper.disconnect();
          keeper.unref();
          return resolve();
      }
    });
    keeper.on('error', reject);
    keeper.on('exit', (code, signal) => reject(new Error(`the lab's keeper ended: ${code ?? signal}`)));
  });
}

async function ls(): Promise<number> {
  for (const lab of namedLabs()) show(lab.name, await statusOf(lab));
  return 0;
}

/** A lab that is just starting has no keeper to ask yet. */
async function statusOf(lab: NamedLab): Promise<LabStatus> {
  return ask(lab.dir, { do: 'status' }).catch(() => ({ hosts: [], faults: ['is being started'] }));
}

function show(name: string, { hosts, faults }: LabStatus): void {
  process.stdout.write(`${name}\n`);
  for (const host of hosts)
    process.stdout.write(`  ${host.name.padEnd(6)} ${host.address}  ${host.on ? 'on' : 'off'}\n`);
  for (const fault of faults) process.stdout.write(`  ${fault}\n`);
}

async function down(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parse(argv, { all: { type: 'boolean', default: false } });
  if (positionals.length > 0) throw new UsageError(`down takes no ${positionals[0]}`);
  const labs = values['all'] === true ? namedLabs() : [labOf(values)];
  for (const lab of labs) await takeDown(lab);
  return 0;
}

async function takeDown(lab: NamedLab): Promise<void> {
  const asked = await ask(lab.dir, { do: 'down' }).catch((error: Error) => error);
  // One that cannot do it, or is still starting: its hosts end with it, and the sweep clears the rest.
  if (asked instanceof Error && isRunning(lab.owner)) process.kill(lab.owner.pid, 'SIGKILL');
  const deadline = performance.now() + downTimeoutMs;
  while (isRunning(lab.owner)) {
    if (performance.now() > deadline)
      throw new Error(`process ${lab.owner.pid}, which keeps lab ${lab.name}, does not end`);
    await sleep(50);
  }
  await sweepCrashed();
}

async function enter(command: 'exec' | 'client', argv: readonly string[]): Promise<number> {
  // What follows the host is the command's own, options too.
  const [values, rest] = leadingName(argv);
  const lab = labOf(values);
  const [hostName, ...asked] = command === 'exec' ? rest : ['', ...rest];
  const words = asked[0] === '--' ? asked.slice(1) : asked;
  const program = words.length > 0 ? words : [process.env['SHELL'] ?? 'sh'];
  const env = { BERTH_CONFIG_DIR: join(lab.dir, 'config'), PATH: `${bin}:${process.env['PATH']}` };
  const where = command === 'exec' ? hostOf(lab, hostName) : lab.client;
  const child = where.spawn(program, { stdio: 'inherit', env: { ...process.env, ...env } });
  // From the terminal they reach the command too, which decides.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 128));
  });
}

/** `--name NAME` before a command that is not ours to read. */
function leadingName(argv: readonly string[]): [Record<string, string>, string[]] {
  const [first, ...rest] = argv;
  if (first === '--name') return [{ name: rest[0] ?? '' }, rest.slice(1)];
  if (first?.startsWith('--name=')) return [{ name: first.slice('--name='.length) }, rest];
  return [{}, [...argv]];
}

/** What the keeper does. */
async function order(command: string, argv: readonly string[]): Promise<number> {
  const request = requestOf(command, argv);
  show(request.lab.name, await ask(request.lab.dir, request.request));
  return 0;
}

function requestOf(command: string, argv: readonly string[]): { readonly lab: NamedLab; readonly request: LabRequest } {
  switch (command) {
    case 'add': {
      const { values } = exactly(0, argv, {});
      return { lab: labOf(values), request: { do: command } };
    }
    case 'kill':
    case 'start':
    case 'freeze':
    case 'thaw':
    case 'heal': {
      const { values, words } = exactly(1, argv, {});
      return { lab: labOf(values), request: { do: command, host: words[0] ?? '' } };
    }
    case 'partition': {
      const { values, words } = exactly(1, argv, { 'one-way': { type: 'string' } });
      const [host = ''] = words;
      const oneWay = values['one-way'];
      if (oneWay === undefined) return { lab: labOf(values), request: { do: command, host } };
      if (oneWay !== 'from' && oneWay !== 'to') throw new UsageError('--one-way is "from" or "to"');
      return { lab: labOf(values), request: { do: command, host, oneWay } };
    }
    case 'cut': {
      const { values, words } = exactly(2, argv, {
        'one-way': { type: 'boolean', default: false },
        port: { type: 'string' },
      });
      const [host = '', to = ''] = words;
      const oneWay = values['one-way'] === true;
      const port = values['port'] === undefined ? {} : { port: portOf(String(values['port'])) };
      return { lab: labOf(values), request: { do: command, host, to, oneWay, ...port } };
    }
    case 'mend': {
      const { values, words } = exactly(2, argv, {});
      const [host = '', to = ''] = words;
      return { lab: labOf(values), request: { do: command, host, to } };
    }
    default:
      throw new UsageError(`unknown command: ${command}`);
  }
}

type Flags = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>;
type Values = Readonly<Record<string, unknown>>;

function parse(argv: readonly string[], options: Flags): { readonly values: Values; readonly positionals: string[] } {
  try {
    const flags: Flags = { ...options, name: { type: 'string' } };
    return parseArgs({ args: [...argv], options: flags, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function exactly(count: number, argv: readonly string[], options: Flags) {
  const { values, positionals } = parse(argv, options);
  if (positionals.length !== count) throw new UsageError(`it takes ${count} host(s), not ${positionals.length}`);
  return { values, words: positionals };
}

function nameOf(values: Values): string {
  const name = values['name'] ?? 'lab';
  if (typeof name === 'string' && /^[a-z0-9-]{1,20}$/u.test(name)) return name;
  throw new UsageError(`${JSON.stringify(name)} is no name: 1 to 20 of a-z, 0-9 and "-"`);
}

function labOf(values: Values): NamedLab {
  const name = nameOf(values);
  const lab = namedLabs().find((each) => each.name === name);
  if (lab) return lab;
  throw new Error(`there is no lab ${name}. Remedy: npm run lab -- up${name === 'lab' ? '' : ` --name ${name}`}`);
}

function hostOf(lab: NamedLab, name: string | undefined): Host {
  const hosts = lab.hosts();
  const host = hosts.find((each) => each.name === name);
  if (host) return host;
  throw new UsageError(`no host ${name ?? ''}; there are ${hosts.map((each) => each.name).join(' ')}`);
}

function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new UsageError(`--port ${text} is no port`);
}
