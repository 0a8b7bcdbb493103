import type { ReadStream, WriteStream } from 'node:tty';
import type { ExecRequest, ExecResponse } from '@berth/contracts/scheduler';
import { AsyncQueue } from '@berth/kernel';
import type { Command } from 'commander';
import { withSession } from '../command.ts';
import { CliError, exitCode } from '../exit-code.ts';

interface ExecOptions {
  readonly interactive: boolean;
  readonly tty: boolean;
  readonly env: readonly string[];
  readonly user: string;
  readonly workdir: string;
}

export function addExecCommand(program: Command): void {
  program
    .command('exec')
    .description("run a command in a task's container; ends with its exit code")
    .argument('<task>', 'id, beginning of an id, or name: stack_service.slot')
    .argument('<command...>', 'command with its arguments')
    .option('-i, --interactive', 'pass standard input on', false)
    .option('-t, --tty', 'with a terminal', false)
    .option('-e, --env <K=V>', 'environment', (value, before: string[]) => [...before, value], [] as string[])
    .option('-u, --user <user>', 'user', '')
    .option('-w, --workdir <path>', 'working directory', '')
    .passThroughOptions()
    .addHelpText('after', '\nExamples:\n  berth exec guestbook_web.1 env\n  berth exec -it guestbook_web.1 sh')
    .action(async (task: string, given: string[], options: ExecOptions, command: Command) =>
      withSession(command, async ({ control }) => {
        // `berth exec TASK -- COMMAND`, as with other tools.
        const argv = given[0] === '--' ? given.slice(1) : given;
        const terminal = new LocalTerminal(options);
        terminal.start({ task, command: argv, options });
        try {
          process.exitCode = await terminal.play(control.exec(terminal.requests));
        } finally {
          terminal.end();
        }
      }),
    );
}

/** Joins this process's standard streams to the ones of the command over there. */
class LocalTerminal {
  readonly requests = new AsyncQueue<ExecRequest>();
  readonly #options: ExecOptions;
  readonly #stdin = process.stdin as ReadStream;
  readonly #stdout = process.stdout as WriteStream;

  constructor(options: ExecOptions) {
    this.#options = options;
    if (options.tty && !(this.#stdin.isTTY && this.#stdout.isTTY)) {
      throw new CliError(exitCode.badInput, '--tty needs a terminal', 'leave -t out when input or output is a pipe');
    }
  }

  start(what: { task: string; command: readonly string[]; options: ExecOptions }): void {
    const { tty, env, user, workdir, interactive } = what.options;
    this.requests.push({
      step: {
        $case: 'start',
        value: {
          task: what.task,
          command: [...what.command],
          tty,
          environment: [...env],
          user,
          workingDir: workdir,
          size: tty ? this.#size() : undefined,
        },
      },
    });
    if (tty) {
      this.#stdin.setRawMode(true);
      this.#stdout.on('resize', this.#resized);
    }
    if (!interactive) {
      this.requests.push({ step: { $case: 'stdinEnd', value: true } });
      return;
    }
    this.#stdin.on('data', (data: Buffer) => this.requests.push({ step: { $case: 'stdin', value: data } }));
    this.#stdin.on('end', () => this.requests.push({ step: { $case: 'stdinEnd', value: true } }));
  }

  async play(responses: AsyncIterable<ExecResponse>): Promise<number> {
    for await (const { step } of responses) {
      if (step?.$case === 'stdout') process.stdout.write(step.value);
      else if (step?.$case === 'stderr') process.stderr.write(step.value);
      else if (step?.$case === 'exitCode') return step.value;
    }
    throw new CliError(exitCode.unreachable, 'the connection ended before the command did');
  }

  end(): void {
    if (this.#options.tty) {
      this.#stdin.setRawMode(false);
      this.#stdout.off('resize', this.#resized);
    }
    this.#stdin.pause();
    this.requests.close();
  }

  readonly #resized = (): void => this.requests.push({ step: { $case: 'size', value: this.#size() } });

  #size(): { columns: number; rows: number } {
    return { columns: this.#stdout.columns, rows: this.#stdout.rows };
  }
}
