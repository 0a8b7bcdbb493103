import { setTimeout as sleep } from 'node:timers/promises';
import type { LogsRequest, LogsResponse } from '@berth/contracts/scheduler';
import { isBerthError } from '@berth/kernel';
import { LogPosition } from '@berth/workload';
import type { Command } from 'commander';
import { interruptSignal, withSession } from '../command.ts';
import { momentMs } from '../duration.ts';
import { CliError, exitCode } from '../exit-code.ts';
import type { Session } from '../session.ts';
import { findTarget } from '../target.ts';
import type { Terminal } from '../terminal/output.ts';
import { drained } from '../terminal/pipe.ts';

/** Pause before a broken connection is tried again. */
const reconnectMs = 1_000;
/** By how much the lines of one host may come later than those of another. */
const latenessMs = 60_000;

interface LogsOptions {
  readonly follow: boolean;
  readonly tail?: string;
  readonly since?: string;
  readonly timestamps: boolean;
  readonly prefix: boolean;
  readonly namespace: string;
}

export function addLogsCommand(program: Command): void {
  program
    .command('logs')
    .description('show the output of a stack, a service or a task, from all hosts, by time')
    .argument('<target>', 'stack, stack_service, or a task (stack_service.slot or id)')
    .option('-f, --follow', 'go on with what comes, also from tasks that come to be', false)
    .option('--tail <lines>', 'only the last lines of each task')
    .option('--since <time>', 'only what is younger: 10m, 2026-05-04T12:00:00Z, or seconds since 1970')
    .option('--timestamps', 'with the time of each line', false)
    .option('--no-prefix', "without the tasks' names")
    .option('-n, --namespace <name>', 'namespace', 'default')
    .addHelpText(
      'after',
      '\nExamples:\n  berth logs guestbook\n  berth logs -f --tail 20 guestbook_web\n  berth logs --since 10m guestbook_web.1\n\nA task whose node does not answer is named on standard error; without -f the exit code is then 4.',
    )
    .action(async (text: string, options: LogsOptions, command: Command) => {
      const range = logsRange(options, Date.now());
      await withSession(command, async (session, terminal) => {
        const target = await findTarget(session.control, text, options.namespace);
        const lines = new LogLines(terminal, options);
        if (options.follow) await follow(session, { ...target, ...range }, lines);
        else await once(session, { ...target, ...range }, lines);
      });
    });
}

function logsRange(options: LogsOptions, nowMs: number): Pick<LogsRequest, 'follow' | 'tail' | 'sinceMs'> {
  const tail = options.tail === undefined || options.tail === 'all' ? undefined : Number(options.tail);
  if (tail !== undefined && !(Number.isInteger(tail) && tail >= 0)) {
    throw new CliError(exitCode.badInput, `--tail ${options.tail} is no number of lines`, 'write it like --tail 100');
  }
  const sinceMs = options.since === undefined ? 0 : momentMs('--since', options.since, nowMs);
  return { follow: options.follow, tail, sinceMs };
}

async function once(session: Session, request: LogsRequest, lines: LogLines): Promise<void> {
  const signal = interruptSignal();
  try {
    for await (const line of session.control.logs(request, { signal })) {
      lines.show(line);
      await drained(process.stdout);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (lines.notices > 0) process.exitCode = exitCode.unreachable;
}

/** Over replicas of the scheduler that come and go, without a line lost or doubled. */
async function follow(session: Session, request: LogsRequest, lines: LogLines): Promise<void> {
  const signal = interruptSignal();
  const positions = new Map<string, LogPosition>();
  // Whoever asks for none of what was wants all that comes.
  const onward = request.tail === 0 ? { sinceMs: Math.max(request.sinceMs, Date.now()), tail: undefined } : request;
  let from: Pick<LogsRequest, 'sinceMs' | 'tail'> = request;
  while (!signal.aborted) {
    try {
      for await (const line of session.control.logs({ ...request, ...from }, { signal })) {
        const position = positions.get(line.taskId) ?? new LogPosition();
        positions.set(line.taskId, position);
        if (line.notice !== '' || position.isNew(line.atMs)) lines.show(line);
        await drained(process.stdout);
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      // A scheduler has answered before, when it was asked for the target.
      if (!isBerthError(error, 'Unavailable')) throw error;
      lines.remark(`the scheduler does not answer; trying again (${error.message})`);
    }
    const reached = [...positions.values()].map(({ atMs }) => atMs).filter((atMs) => atMs >= 0);
    for (const position of positions.values()) position.resume();
    from = reached.length > 0 ? { sinceMs: Math.max(onward.sinceMs, resumeMs(reached)), tail: undefined } : onward;
    await sleep(reconnectMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Where all go on from: where the last to have written is, but for what another may be late with. A task that fell silent
 *  days ago must not have all others tell of those days again. */
function resumeMs(reached: readonly number[]): number {
  return Math.max(0, Math.max(...reached) - latenessMs);
}

/** Lines with the names of their tasks, each in its colour. */
class LogLines {
  /** Tasks of which there was no output. */
  notices = 0;
  readonly #terminal: Terminal;
  readonly #options: LogsOptions;
  readonly #colors = new Map<string, (text: string) => string>();
  #width = 0;

  constructor(terminal: Terminal, options: LogsOptions) {
    this.#terminal = terminal;
    this.#options = options;
  }

  show(line: LogsResponse): void {
    const { taskId, taskName, stderr, atMs, notice } = line;
    if (notice !== '') {
      this.notices += 1;
      this.remark(`no output of ${taskName}: ${notice}`);
      return;
    }
    const text = Buffer.from(line.line).toString('utf8');
    const time = this.#options.timestamps ? `${new Date(atMs).toISOString()} ` : '';
    const stream = stderr ? 'stderr' : 'stdout';
    this.#terminal.line(
      { task: taskId, name: taskName, stream, atMs, line: text },
      `${this.#prefix(taskName)}${time}${text}`,
    );
  }

  remark(text: string): void {
    const { format } = this.#terminal;
    this.#terminal.error(format === 'json' ? JSON.stringify({ notice: text }) : `berth: ${text}`);
  }

  #prefix(name: string): string {
    if (!this.#options.prefix) return '';
    const { cyan, yellow, green, magenta, blue, cyanBright, yellowBright, greenBright } = this.#terminal.colors;
    const palette = [cyan, yellow, green, magenta, blue, cyanBright, yellowBright, greenBright];
    const color = this.#colors.get(name) ?? palette[this.#colors.size % palette.length] ?? cyan;
    this.#colors.set(name, color);
    this.#width = Math.max(this.#width, name.length);
    return `${color(`${name.padEnd(this.#width)} |`)} `;
  }
}
