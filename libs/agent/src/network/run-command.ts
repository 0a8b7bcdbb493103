import { execFile } from 'node:child_process';
import { BerthError } from '@berth/kernel';

const commandTimeoutMs = 10_000;
const outputMaxBytes = 16 * 1024 * 1024;

/** Runs a program with input to its end and gives its output. */
export type RunCommand = (file: string, args: readonly string[], input?: string) => Promise<string>;

/** On this host. Unavailable with reason HOST_COMMAND_FAILED, with what the program said. */
export const runCommand: RunCommand = (file, args, input) =>
  new Promise((resolve, reject) => {
    const options = { timeout: commandTimeoutMs, maxBuffer: outputMaxBytes, encoding: 'utf8' } as const;
    const child = execFile(file, [...args], options, (error, stdout, stderr) => {
      if (!error) resolve(stdout);
      else {
        const message = `${file} ${args.join(' ')}: ${stderr.trim() || error.message}`;
        reject(new BerthError('Unavailable', message, { reason: 'HOST_COMMAND_FAILED', cause: error }));
      }
    });
    // A program that ends before it has read all says why with its exit code.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
