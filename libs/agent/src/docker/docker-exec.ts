import type { ExecOptions, ExecSession } from '@berth/kernel';
import { BerthError } from '@berth/kernel';
import type Docker from 'dockerode';
import { call } from './docker-calls.ts';
import { refused } from './docker-errors.ts';
import { Frames } from './log-frames.ts';

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
  const stream = await call('exec', () => exec.start({ hijack: true, stdin: true, Tty: options.tty }));
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
    const { ExitCode } = await call('exec', () => exec.inspect());
    yield { kind: 'exit', code: ExitCode ?? 0 };
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
    endInput: () => stream.end(),
    resize,
    close: () => stream.destroy(),
  };
}
