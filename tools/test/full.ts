// npm run test:full -- PART: the long form of one part's tests, with their full rounds (BERTH_FULL=1); what they
// measured goes to docs/reports/PART.md.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Machine } from './full-report.ts';
import { fullReport } from './full-report.ts';
import { ensurePrograms } from './programs.ts';
import { runStep, signalRunning } from './run-step.ts';
import type { VitestRun } from './steps.ts';
import { root, runVitest } from './steps.ts';

interface Part extends Pick<VitestRun, 'project' | 'paths' | 'limitMs'> {
  readonly what: string;
}

const hourMs = 3_600_000;

/** Each part has tests that read BERTH_FULL and do more rounds under it. */
const parts: Readonly<Record<string, Part>> = {
  events: {
    what: 'events over NATS, with crashes',
    project: 'it',
    paths: ['libs/platform/events-nats', 'libs/changes'],
    limitMs: hourMs,
  },
  store: { what: 'store over etcd, with faults', project: 'it', paths: ['libs/platform/store-etcd'], limitMs: hourMs },
  hosts: {
    what: 'the whole of Berth on several hosts, with their faults',
    project: 'hosts',
    limitMs: 1.25 * hourMs,
  },
  e2e: { what: 'the whole of Berth on a host of its own', project: 'e2e', limitMs: 2 * hourMs },
};

process.chdir(root);
const [name = '', ...rest] = process.argv.slice(2);
const part = Object.hasOwn(parts, name) ? parts[name] : undefined;
if (part === undefined || rest.length > 0) {
  console.error(name === '' ? 'usage: npm run test:full -- PART' : `unknown part: ${[name, ...rest].join(' ')}`);
  console.error('There are:');
  for (const [known, { what }] of Object.entries(parts)) console.error(`  ${known.padEnd(8)} ${what}`);
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => signalRunning(signal));

const lacking = await ensurePrograms();
if (lacking !== undefined) {
  console.error(lacking);
  process.exit(1);
}
const began = new Date();
const tally = await runVitest({ ...part, env: { BERTH_FULL: '1' } });
await runStep(['node', 'tools/test/sweep.ts'], 120_000);

const seconds = (Date.now() - began.getTime()) / 1000;
const file = join('docs/reports', `${name}.md`);
mkdirSync('docs/reports', { recursive: true });
writeFileSync(file, fullReport({ name, what: part.what, began, seconds, machine: machine(), tally }));
console.log(`wrote ${file}`);
console.log(`${tally.passed} passed, ${tally.failed} failed`);
process.exitCode = tally.failed > 0 || tally.passed === 0 ? 1 : 0;

function machine(): Machine {
  const commit = git('rev-parse', '--short=12', 'HEAD');
  const changed = git('status', '--porcelain') !== '';
  return {
    commit: changed ? `${commit} with uncommitted changes` : commit,
    node: process.version,
    kernel: release(),
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
}

function git(...args: string[]): string {
  return execFileSync('git', args, { encoding: 'utf8' }).trim();
}
