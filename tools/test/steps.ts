import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ensurePrograms } from './programs.ts';
import { runStep } from './run-step.ts';
import type { Tally, VitestReport } from './vitest-report.ts';
import { singleCheck, tallyOf } from './vitest-report.ts';

export const root = resolve(import.meta.dirname, '../..');

export interface Step {
  readonly name: string;
  readonly what: string;
  run(): Promise<Tally>;
}

const minuteMs = 60_000;

/** Everything that `npm test` checks, quick things first. */
export const steps: readonly Step[] = [
  check('lint', 'Biome: rules, format, boundaries', ['biome', 'check', '--error-on-warnings', '.'], minuteMs),
  check(
    'types',
    'TypeScript, every project',
    ['nx', 'run-many', '-t', 'typecheck', '--output-style=static'],
    5 * minuteMs,
  ),
  check('wire', 'buf breaking against the last release', ['node', 'tools/proto/breaking.ts'], minuteMs),
  vitest('unit', 'tests beside the code', 5 * minuteMs),
  {
    name: 'programs',
    what: 'etcd, NATS, Docker and tools of the kernel',
    run: async () => singleCheck(await ensurePrograms()),
  },
  vitest('it', 'contract suites against real etcd, NATS, Docker and kernel', 10 * minuteMs),
  vitest('e2e', 'the whole of Berth on a host of its own', 15 * minuteMs),
  vitest('hosts', 'the whole of Berth on several hosts, with their faults', 10 * minuteMs, { BERTH_SHORT: '1' }),
];

function check(name: string, what: string, argv: readonly string[], limitMs: number): Step {
  return {
    name,
    what,
    run: async () => {
      const { code, timedOut } = await runStep(argv, limitMs);
      if (timedOut) return singleCheck(`${name}: not done within ${limitMs / minuteMs} min`);
      return singleCheck(code === 0 ? undefined : `${name}: exit code ${code}, see above`);
    },
  };
}

function vitest(name: string, what: string, limitMs: number, env: VitestRun['env'] = {}): Step {
  return { name, what, run: () => runVitest({ project: name, limitMs, env }) };
}

export interface VitestRun {
  readonly project: string;
  /** Only test files whose path contains one of these; none: all of the project. */
  readonly paths?: readonly string[];
  readonly limitMs: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs tests of one vitest project and counts them. */
export async function runVitest({ project, paths = [], limitMs, env = {} }: VitestRun): Promise<Tally> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-test-'));
  const file = join(dir, 'report.json');
  try {
    const argv = ['vitest', 'run', '--project', project, '--reporter=default', '--reporter=json'];
    const { code, timedOut } = await runStep([...argv, `--outputFile.json=${file}`, ...paths], limitMs, env);
    const late = timedOut ? `${project}: not done within ${limitMs / minuteMs} min` : undefined;
    if (!existsSync(file)) return singleCheck(late ?? `${project}: vitest ended with ${code} and without a report`);
    const report = JSON.parse(readFileSync(file, 'utf8')) as VitestReport;
    return tallyOf({ ...report, success: report.success && code === 0 }, root);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
