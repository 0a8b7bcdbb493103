// npm test [-- STEP…]: every step (or the named ones), whatever fails; then the sum over all on the last line.
import { runStep, signalRunning } from './run-step.ts';
import type { Step } from './steps.ts';
import { phases, root } from './steps.ts';
import { table } from './table.ts';
import type { Tally } from './vitest-report.ts';
import { addTallies, singleCheck } from './vitest-report.ts';

process.chdir(root);
const steps = phases.flat(2);
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !steps.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(`unknown step: ${unknown.join(', ')}. There are: ${steps.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true;
    signalRunning(signal);
  });
}

let interrupted = false;
const rows: { name: string; tally: Tally; seconds: number }[] = [];
for (const lanes of phases) await Promise.all(lanes.map(runLane));
// Whatever a crashed test left on this machine.
await runStep(['node', 'tools/test/sweep.ts'], 120_000);

const sum = addTallies(rows.map(({ tally }) => tally));
console.log(`\n${table(rows)}`);
for (const { test, values } of sum.figures) {
  console.log(
    `figures · ${test}: ${Object.entries(values)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}`,
  );
}
for (const failure of sum.failures) console.log(`FAILED · ${failure}`);
if (interrupted) console.log('interrupted: the sum is not that of a whole run');
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = interrupted || sum.failed > 0 || sum.passed === 0 ? 1 : 0;

async function runLane(lane: readonly Step[]): Promise<void> {
  for (const step of lane) {
    if (!interrupted && (wanted.length === 0 || wanted.includes(step.name))) await runOne(step);
  }
}

async function runOne({ name, what, run }: Step): Promise<void> {
  console.log(`\n── ${name}: ${what}`);
  const began = performance.now();
  const tally = await run().catch((error: unknown) => singleCheck(`${name}: ${String(error)}`));
  const seconds = (performance.now() - began) / 1000;
  rows.push({ name, tally, seconds });
  console.log(`── ${name}: ${tally.passed} passed, ${tally.failed} failed in ${seconds.toFixed(1)} s`);
}
