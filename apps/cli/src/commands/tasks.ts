import type { LogsResponse } from '@berth/contracts/scheduler';
import type { Command } from 'commander';
import { durationMs, interruptSignal, withSession } from '../command.ts';
import { CliError, exitCode } from '../exit-code.ts';
import type { Terminal } from '../terminal/output.ts';
import { shownName, stateText } from './list.ts';

interface LogsOptions {
  readonly follow: boolean;
  readonly tail?: string;
  readonly since?: string;
  readonly timestamps: boolean;
  readonly namespace: string;
}

export function addTaskCommands(program: Command): void {
  program
    .command('why')
    .description('say why a task is where it is, or why it waits')
    .argument('<task>', 'id, beginning of an id, or name: stack_service.slot')
    .addHelpText('after', '\nExamples:\n  berth why guestbook_web.1')
    .action(async (task: string, _options: object, command: Command) =>
      withSession(command, async ({ control }, terminal) => {
        const answer = await control.explainTask({ task });
        terminal.result(answer, ({ task: view, reasons, pending }) => {
          const filters = (pending?.filters ?? []).map(
            (filter) =>
              `  ${filter.filter}: ${filter.nodes} of ${pending?.nodes ?? 0} node(s)${filter.detail ? `; ${filter.detail}` : ''}`,
          );
          const head = view ? `${view.task?.stack}_${shownName(view)}: ${stateText(view, terminal)}` : task;
          return [head, ...reasons, ...filters].join('\n');
        });
      }),
    );

  program
    .command('logs')
    .description('show the output of a stack, a service or a task')
    .argument('<target>', 'stack, stack_service, or a task (stack_service.slot or id)')
    .option('-f, --follow', 'go on with what comes', false)
    .option('--tail <lines>', 'only the last lines of each task')
    .option('--since <duration>', 'only lines younger than this')
    .option('--timestamps', 'with the time of each line', false)
    .option('-n, --namespace <name>', 'namespace', 'default')
    .addHelpText('after', '\nExamples:\n  berth logs guestbook\n  berth logs -f --tail 20 guestbook_web')
    .action(async (target: string, options: LogsOptions, command: Command) =>
      withSession(command, async (session, terminal) => {
        const signal = interruptSignal();
        const request = { ...(await logsTarget(session.control, target, options.namespace)), ...logsRange(options) };
        try {
          for await (const line of session.control.logs(request, { signal })) showLine(line, options, terminal);
        } catch (error) {
          if (!signal.aborted) throw error;
        }
      }),
    );
}

function logsRange(options: LogsOptions) {
  const tail = options.tail === undefined ? undefined : Number(options.tail);
  if (tail !== undefined && !(Number.isInteger(tail) && tail >= 0)) {
    throw new CliError(exitCode.badInput, `--tail ${options.tail} is no number of lines`, 'write it like --tail 100');
  }
  const sinceMs = options.since === undefined ? 0 : Date.now() - durationMs(options.since);
  return { follow: options.follow, tail, sinceMs };
}

type Control = Parameters<Parameters<typeof withSession>[1]>[0]['control'];

/** What a target means is looked up: a stack, a service of one, or a task. */
async function logsTarget(control: Control, target: string, namespace: string) {
  const { stacks } = await control.listStacks({ namespace });
  if (stacks.some((stack) => stack.name === target)) return { namespace, stack: target, service: '', taskId: '' };
  const { services } = await control.listServices({ namespace, stack: '' });
  const service = services.find((candidate) => `${candidate.stack}_${candidate.name}` === target);
  if (service) return { namespace, stack: service.stack, service: service.name, taskId: '' };
  const { task } = await control.explainTask({ task: target });
  return { namespace, stack: '', service: '', taskId: task?.task?.id ?? '' };
}

function showLine(line: LogsResponse, options: LogsOptions, terminal: Terminal): void {
  const text = Buffer.from(line.line).toString('utf8');
  const time = options.timestamps ? `${new Date(line.atMs).toISOString()} ` : '';
  const source = line.stderr ? terminal.colors.yellow(line.taskName) : terminal.colors.cyan(line.taskName);
  terminal.line(
    { task: line.taskId, name: line.taskName, stream: line.stderr ? 'stderr' : 'stdout', atMs: line.atMs, line: text },
    `${source} | ${time}${text}`,
  );
}
