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

const checks: readonly Step[] = [
  check('lint', 'Biome: rules, format, boundaries', ['biome', 'check', '--error-on-warnings', '.'], minuteMs),
  check(
    'types',
    'TypeScript, every project',
    ['nx', 'run-many', '-t', 'typecheck', '--output-style=static'],
    5 * minuteMs,
  ),
  check('wire', 'buf breaking against the last release', ['node', 'tools/proto/breaking.ts'], minuteMs),
  {
    name: 'programs',
    what: 'etcd, NATS, Docker and tools of the kernel',
    run: async () => singleCheck(await ensurePrograms()),
  },
];

const partly: readonly Step[] = [
  vitest({ project: 'unit', limitMs: 10 * minuteMs, yielding: true }, 'tests beside the code'),
  vitest(
    { project: 'it', limitMs: 15 * minuteMs, yielding: true },
    'contract suites against real etcd, NATS, Docker and kernel',
  ),
  {
    ...vitest(
      { project: 'hosts', paths: ['e2e/src/hosts/autonomy'], limitMs: 10 * minuteMs },
      'several hosts without their control plane: a minute of waiting, most of it',
    ),
    name: 'autonomy',
  },
];

const wholly: readonly Step[] = [
  vitest(
    { project: 'hosts', limitMs: 10 * minuteMs, env: { BERTH_SHORT: '1' } },
    'the whole of Berth on several hosts, with their faults',
  ),
  vitest({ project: 'e2e', limitMs: 15 * minuteMs }, 'the whole of Berth on a host of its own'),
];

/**
 * Everything that `npm test` checks: one phase after the other, the lanes of a phase side by side, the steps of a lane one
 * after the other. The whole of Berth has promises to keep in seconds and waits for them half its time; what runs beside
 * it takes only the processor time it leaves.
 */
export const phases: readonly (readonly (readonly Step[])[])[] = [[checks], [wholly, partly]];

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

function vitest(run: VitestRun, what: string): Step {
  return { name: run.project, what, run: () => runVitest(run) };
}

export interface VitestRun {
  readonly project: string;
  /** Only test files whose path contains one of these; none: all of the project. */
  readonly paths?: readonly string[];
  readonly limitMs: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether everything else on the machine goes first. Default false. */
  readonly yielding?: boolean;
}

/** Runs tests of one vitest project and counts them. */
export async function runVitest(run: VitestRun): Promise<Tally> {
  const { project, paths = [], limitMs, env = {}, yielding = false } = run;
  const dir = mkdtempSync(join(tmpdir(), 'berth-test-'));
  const file = join(dir, 'report.json');
  try {
    const priority = yielding ? ['nice', '-n', '19'] : [];
    const argv = [...priority, 'vitest', 'run', '--project', project, '--reporter=default', '--reporter=json'];
    const { code, timedOut } = await runStep([...argv, `--outputFile.json=${file}`, ...paths], limitMs, env);
    const late = timedOut ? `${project}: not done within ${limitMs / minuteMs} min` : undefined;
    if (!existsSync(file)) return singleCheck(late ?? `${project}: vitest ended with ${code} and without a report`);
    const report = JSON.parse(readFileSync(file, 'utf8')) as VitestReport;
    return tallyOf({ ...report, success: report.success && code === 0 }, root);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
