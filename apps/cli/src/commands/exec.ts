import type { ReadStream, WriteStream } from 'node:tty';
import type { ExecRequest, ExecResponse } from '@berth/contracts/scheduler';
import type { Command } from 'commander';
import { withSession } from '../command.ts';
import { CliError, exitCode } from '../exit-code.ts';
import { writeAll } from '../terminal/pipe.ts';

interface ExecOptions {
  readonly interactive: boolean;
  readonly tty: boolean;
  readonly env: readonly string[];
  readonly user: string;
  readonly workdir: string;
}

/** Sent at a time. */
const pieceBytes = 64 * 1024;
/** A signal ends a command with this much more than its number. */
const signalBase = 128;
const endings = { SIGHUP: 1, SIGTERM: 15 } as const;

export function addExecCommand(program: Command): void {
  program
    .command('exec')
    .description("run a command in a task's container on whatever host; ends with its exit code")
    .argument('<task>', 'id, beginning of an id, or name: stack_service.slot')
    .argument('<command...>', 'command with its arguments')
    .option('-i, --interactive', 'pass standard input on', false)
    .option('-t, --tty', 'with a terminal', false)
    .option('-e, --env <K=V>', 'environment', (value, before: string[]) => [...before, value], [] as string[])
    .option('-u, --user <user>', 'user', '')
    .option('-w, --workdir <path>', 'working directory', '')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nExamples:\n  berth exec guestbook_web.1 env\n  berth exec -it guestbook_web.1 sh\n  berth exec -i guestbook_redis.1 redis-cli --pipe < dump.txt',
    )
    .action(async (task: string, given: string[], options: ExecOptions, command: Command) =>
      withSession(command, async ({ control }) => {
        // `berth exec TASK -- COMMAND`, as with other tools.
        const argv = given[0] === '--' ? given.slice(1) : given;
        const local = new LocalTerminal(task, argv, options);
        try {
          process.exitCode = await local.play(control.exec(local.requests()));
        } finally {
          local.end();
        }
      }),
    );
}

/** Joins this process's standard streams to the ones of the command over there. */
class LocalTerminal {
  readonly #task: string;
  readonly #command: readonly string[];
  readonly #options: ExecOptions;
  readonly #stdin = process.stdin as ReadStream;
  readonly #stdout = process.stdout as WriteStream;
  #wake: () => void = () => {};
  #resized = false;
  #inputEnded = false;
  #over = false;

  constructor(task: string, command: readonly string[], options: ExecOptions) {
    this.#task = task;
    this.#command = command;
    this.#options = options;
    if (options.tty && !(this.#stdin.isTTY && this.#stdout.isTTY)) {
      throw new CliError(exitCode.badInput, '--tty needs a terminal', 'leave -t out when input or output is a pipe');
    }
  }

  /** What is sent: first what to run, then input as it comes and can be taken, and each new size of the terminal. */
  async *requests(): AsyncGenerator<ExecRequest> {
    // Only now: as long as nobody takes requests, Ctrl-C is to end this program.
    this.#attach();
    yield this.#start();
    const { interactive } = this.#options;
    if (!interactive) yield { step: { $case: 'stdinEnd', value: true } };
    let inputOpen = interactive;
    while (!this.#over) {
      if (this.#resized) {
        this.#resized = false;
        yield { step: { $case: 'size', value: this.#size() } };
        continue;
      }
      const data = inputOpen ? (this.#stdin.read() as Buffer | null) : null;
      if (data !== null) {
        for (let at = 0; at < data.length; at += pieceBytes)
          yield { step: { $case: 'stdin', value: data.subarray(at, at + pieceBytes) } };
      } else if (inputOpen && this.#inputEnded) {
        inputOpen = false;
        yield { step: { $case: 'stdinEnd', value: true } };
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async play(responses: AsyncIterable<ExecResponse>): Promise<number> {
    for await (const { step } of responses) {
      if (step?.$case === 'stdout') await writeAll(process.stdout, step.value);
      else if (step?.$case === 'stderr') await writeAll(process.stderr, step.value);
      else if (step?.$case === 'exitCode') return step.value;
    }
    throw new CliError(exitCode.unreachable, 'the connection ended before the command did');
  }

  /** Gives the terminal back as it was. */
  end(): void {
    this.#over = true;
    if (this.#options.tty) {
      this.#stdin.setRawMode(false);
      this.#stdout.off('resize', this.#onResize);
    }
    for (const name of Object.keys(endings)) process.off(name, this.#onEnding);
    // Whatever still writes into our input does not keep us.
    this.#stdin.destroy();
    this.#wake();
  }

  #attach(): void {
    if (this.#options.tty) {
      this.#stdin.setRawMode(true);
      this.#stdout.on('resize', this.#onResize);
    }
    for (const name of Object.keys(endings)) process.on(name, this.#onEnding);
    if (!this.#options.interactive) return;
    this.#stdin.on('readable', () => this.#wake());
    const ended = (): void => {
      this.#inputEnded = true;
      this.#wake();
    };
    this.#stdin.on('end', ended);
    this.#stdin.on('close', ended);
    this.#stdin.on('error', ended);
  }

  #start(): ExecRequest {
    const { tty, env, user, workdir } = this.#options;
    const value = {
      task: this.#task,
      command: [...this.#command],
      tty,
      environment: [...env],
      user,
      workingDir: workdir,
      size: tty ? this.#size() : undefined,
    };
    return { step: { $case: 'start', value } };
  }

  readonly #onResize = (): void => {
    this.#resized = true;
    this.#wake();
  };

  /** A terminal that goes away, or a `kill`: the local terminal must not stay raw. */
  readonly #onEnding = (name: NodeJS.Signals): void => {
    this.end();
    process.exit(signalBase + endings[name as keyof typeof endings]);
  };

  #size(): { columns: number; rows: number } {
    return { columns: this.#stdout.columns, rows: this.#stdout.rows };
  }
}
