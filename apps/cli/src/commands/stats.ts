import type { StatsResponse } from '@berth/contracts/scheduler';
import type { Command } from 'commander';
import { interruptSignal, withSession } from '../command.ts';
import { exitCode } from '../exit-code.ts';
import { findTarget } from '../target.ts';
import { liveArea } from '../terminal/live.ts';
import type { Terminal } from '../terminal/output.ts';
import { bytesText, table } from '../terminal/table.ts';

/** A task that was not measured for so long has gone. */
const staleMs = 5_000;
/** How often the live table is drawn anew. */
const drawMs = 1_000;

interface StatsOptions {
  readonly stream: boolean;
  readonly namespace: string;
}

export function addStatsCommand(program: Command): void {
  program
    .command('stats')
    .description('show what tasks use: cpu, memory, network, disk')
    .argument('[target]', 'stack, stack_service, or a task (stack_service.slot or id) (default: all stacks)')
    .option('--no-stream', 'measure once')
    .option('-n, --namespace <name>', 'namespace', 'default')
    .addHelpText(
      'after',
      '\nExamples:\n  berth stats\n  berth stats guestbook --no-stream\n  berth stats guestbook_web.1 --output json',
    )
    .action(async (target: string | undefined, options: StatsOptions, command: Command) =>
      withSession(command, async (session, terminal) => {
        const signal = interruptSignal();
        const chosen = target === undefined ? undefined : await findTarget(session.control, target, options.namespace);
        const request = {
          namespace: options.namespace,
          stack: chosen?.stack ?? '',
          service: chosen?.service ?? '',
          task: chosen?.taskId ?? '',
          follow: options.stream,
        };
        const responses = session.control.stats(request, { signal });
        if (options.stream) await follow(responses, terminal, signal);
        else await once(responses, terminal);
      }),
    );
}

async function once(responses: AsyncIterable<StatsResponse>, terminal: Terminal): Promise<void> {
  const measured: StatsResponse[] = [];
  for await (const response of responses) {
    if (response.notice === '') measured.push(response);
    else {
      terminal.error(`berth: no measurement of ${response.taskName}: ${response.notice}`);
      process.exitCode = exitCode.unreachable;
    }
  }
  terminal.result(measured.map(jsonOf), () => statsTable(measured));
}

async function follow(responses: AsyncIterable<StatsResponse>, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const newest = new Map<string, { readonly response: StatsResponse; readonly atMs: number }>();
  const live = liveArea(terminal, process.stdout);
  const draw = (): void => {
    for (const [id, { atMs }] of newest) if (performance.now() - atMs > staleMs) newest.delete(id);
    const rows = [...newest.values()].map(({ response }) => response);
    const notices = rows.filter(({ notice }) => notice !== '').map((row) => `${row.taskName}: ${row.notice}`);
    const measured = rows.filter(({ notice }) => notice === '');
    if (rows.length > 0) live.show([...statsTable(measured).split('\n'), ...notices]);
  };
  const timer = terminal.format === 'table' ? setInterval(draw, drawMs) : undefined;
  try {
    for await (const response of responses) {
      if (terminal.format === 'table') newest.set(response.taskId, { response, atMs: performance.now() });
      else if (response.notice === '') terminal.line(jsonOf(response), '');
      else terminal.error(JSON.stringify({ task: response.taskId, name: response.taskName, notice: response.notice }));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearInterval(timer);
  }
}

function jsonOf({ taskId, taskName, stack, hostname, usage }: StatsResponse): object {
  return { task: taskId, name: taskName, stack, node: hostname, ...usage };
}

function statsTable(measured: readonly StatsResponse[]): string {
  const key = ({ stack, taskName }: StatsResponse): string => `${stack}_${taskName}`;
  const sorted = [...measured].sort((a, b) => key(a).localeCompare(key(b), undefined, { numeric: true }));
  return table(
    ['TASK', 'NODE', 'CPU', 'MEMORY', 'LIMIT', 'NET IN', 'NET OUT', 'DISK READ', 'DISK WRITTEN', 'PIDS'],
    sorted.map((row) => {
      const { usage } = row;
      return [
        key(row),
        row.hostname,
        `${((usage?.cpuMillis ?? 0) / 10).toFixed(1)}%`,
        bytesText(usage?.memoryBytes ?? 0),
        bytesText(usage?.memoryLimitBytes ?? 0),
        bytesText(usage?.networkReceivedBytes ?? 0),
        bytesText(usage?.networkSentBytes ?? 0),
        bytesText(usage?.diskReadBytes ?? 0),
        bytesText(usage?.diskWrittenBytes ?? 0),
        String(usage?.processes ?? 0),
      ];
    }),
  );
}
