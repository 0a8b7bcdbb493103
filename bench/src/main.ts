// npm run bench -- NAME [--rounds N] [--json FILE] [--record]: measures Berth beside a reference in the same run.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensurePrograms } from '../../tools/test/programs.ts';
import type { Bench } from './bench.ts';
import { converge } from './converge/converge.ts';
import { failover } from './failover.ts';
import { idle } from './idle.ts';
import { network } from './network/network.ts';
import { recorded } from './performance-page.ts';
import { tableOf } from './rows.ts';

const benches: Readonly<Record<string, Bench>> = { converge, failover, idle, network };
const root = join(import.meta.dirname, '../..');
const page = join(root, 'docs/performance.md');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, json: { type: 'string' }, record: { type: 'boolean', default: false } },
});
const [name = '', ...rest] = positionals;
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
const rounds = values.rounds === undefined ? bench?.rounds : Number(values.rounds);
if (bench === undefined || rest.length > 0 || rounds === undefined || !Number.isInteger(rounds) || rounds < 1) {
  console.error('usage: npm run bench -- NAME [--rounds N] [--json FILE] [--record]');
  console.error('--record writes the result to docs/performance.md. There are:');
  for (const [known, { what }] of Object.entries(benches)) console.error(`  ${known.padEnd(10)} ${what}`);
  process.exit(2);
}

const lacking = await ensurePrograms(bench.programs);
if (lacking !== undefined) {
  console.error(lacking);
  process.exit(1);
}
const began = performance.now();
const rows = await bench.run(rounds, (line) => {
  console.error(`${((performance.now() - began) / 1000).toFixed(0).padStart(5)} s  ${line}`);
});
console.log(tableOf(rows));
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
if (values.record) {
  writeFileSync(page, recorded(readFileSync(page, 'utf8'), name, `${conditions()}\n\n${tableOf(rows)}`));
  console.error(`recorded in ${page}`);
}

function conditions(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8', cwd: root }).trim();
  const commit = `${git('rev-parse', '--short=12', 'HEAD')}${git('status', '--porcelain') === '' ? '' : ', changed'}`;
  const machine = `${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`;
  return `${new Date().toISOString().slice(0, 10)}, commit ${commit}, ${machine}; medians of ${rounds} rounds.`;
}
