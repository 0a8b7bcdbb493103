import { spawn } from 'node:child_process';

export interface ExecOptions {
  /** Written to the program's standard input, which is then closed. Default: no input. */
  readonly stdin?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Ends the program with SIGKILL when it aborts; the call then rejects. */
  readonly signal?: AbortSignal;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code; a program killed by a signal has code 128. */
export function execute(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const [program, ...args] = argv;
  if (program === undefined) throw new Error('nothing to run');
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      signal: options.signal,
      killSignal: 'SIGKILL',
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    // A program that doesn't read its input closes the pipe early: not our error.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.stdin ?? '');
    child.on('error', (cause) => reject(new Error(`${program}: ${cause.message}`, { cause })));
    child.on('close', (code) => resolve({ code: code ?? 128, stdout, stderr }));
  });
}

/**
 * Runs a program and returns its standard output; rejects with its standard error when it fails, and calls it by what
 * was asked for where the command line has more to it.
 */
export async function run(argv: readonly string[], options: ExecOptions = {}, asked = argv): Promise<string> {
  const { code, stdout, stderr } = await execute(argv, options);
  if (code !== 0) throw new Error(`${asked.join(' ')} exited with ${code}: ${(stderr || stdout).trim()}`);
  return stdout;
}
