import type { ExecOptions, ExecSession } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import type Docker from 'dockerode';
import { call } from './docker-calls.ts';
import { engineMessage, refused, statusOf } from './docker-errors.ts';
import { Frames } from './log-frames.ts';

/** The engine tells that an output is over a little before it knows the exit code; so is asked at first. */
const exitPollMs = 20;
/** Later: of a command that closed its output and goes on. */
const exitSlowPollMs = 500;
const exitFastMs = 2_000;
/** What shells answer when a program is not there, or is none. */
const notFoundCode = 127;
const notExecutableCode = 126;

type Output = { kind: 'stdout' | 'stderr'; data: Uint8Array } | { kind: 'exit'; code: number };

/** Starts a command in a running container. FailedPrecondition if the container does not run. */
export async function openExec(docker: Docker, containerId: string, options: ExecOptions): Promise<ExecSession> {
  const exec = await call('exec', () =>
    docker.getContainer(containerId).exec({
      Cmd: [...options.command],
      Tty: options.tty,
      Env: [...options.environment],
      User: options.user,
      WorkingDir: options.workingDir,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    }),
  ).catch((error: unknown) => {
    if (!(error instanceof BerthError) || error.code !== 'Conflict') throw error;
    throw refused('NOT_RUNNING', error.message, error);
  });
  let closed = false;
  let stream: Awaited<ReturnType<typeof exec.start>>;
  try {
    stream = await exec.start({ hijack: true, stdin: true, Tty: options.tty });
  } catch (error) {
    // Newer engines refuse what can't be run; older ones say so in the output. To the caller both are an exit code.
    if (statusOf(error) === 400) return notRun(engineMessage(error));
    return call('exec', () => Promise.reject(error));
  }
  // Before the output is read nobody else hears of an error; afterwards its reader does as well.
  stream.on('error', () => undefined);
  const resize = async (columns: number, rows: number): Promise<void> => {
    // A command that has just ended has no terminal any more.
    await exec.resize({ w: columns, h: rows }).catch(() => undefined);
  };
  if (options.tty && options.size) await resize(options.size.columns, options.size.rows);

  async function* output(): AsyncIterable<Output> {
    if (options.tty) {
      for await (const data of stream) yield { kind: 'stdout', data: data as Uint8Array };
    } else {
      yield* demultiplexed();
    }
    yield { kind: 'exit', code: await exitCode() };
  }

  async function exitCode(): Promise<number> {
    for (let waited = 0; ; waited += exitPollMs) {
      const { ExitCode, Running } = await call('exec', () => exec.inspect());
      if (!Running) return ExitCode ?? 0;
      if (closed) throw new BerthError('Cancelled', 'the session was given up', { reason: 'CLOSED' });
      await new Promise((resolve) => setTimeout(resolve, waited < exitFastMs ? exitPollMs : exitSlowPollMs));
    }
  }

  async function* demultiplexed(): AsyncIterable<Output> {
    const frames = new Frames();
    for await (const chunk of stream) {
      for (const { stream: number, data } of frames.push(chunk as Uint8Array)) {
        yield { kind: number === 2 ? 'stderr' : 'stdout', data };
      }
    }
  }

  return {
    output: output(),
    write: (data) =>
      new Promise((resolve, reject) => {
        stream.write(data, (error) => (error ? reject(error) : resolve()));
      }),
    endInput: () => {
      // A terminal's input does not end: the engine would end the terminal with it.
      if (!options.tty) stream.end();
    },
    resize,
    close: () => {
      closed = true;
      stream.destroy();
    },
  };
}

/** A session of a command that could not be run. */
function notRun(message: string): ExecSession {
  async function* output(): AsyncIterable<Output> {
    yield { kind: 'stderr', data: new TextEncoder().encode(`${message}\n`) };
    yield { kind: 'exit', code: /not found|no such file/iu.test(message) ? notFoundCode : notExecutableCode };
  }
  const nothing = async (): Promise<void> => undefined;
  return { output: output(), write: nothing, endInput: () => undefined, resize: nothing, close: () => undefined };
}
