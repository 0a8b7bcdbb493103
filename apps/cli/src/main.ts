#!/usr/bin/env node
import { isBerthError } from '@berth/kernel';
import { CommanderError } from 'commander';
import { asksForJson } from './command.ts';
import { CliError, exitCode, exitCodeOf } from './exit-code.ts';
import { buildProgram } from './program.ts';

/** Shows an error as the user should see it; a bug of ours with its stack. */
function report(error: unknown): void {
  const code = exitCodeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const remedy = error instanceof CliError ? error.remedy : undefined;
  if (asksForJson(process.argv)) {
    process.stderr.write(`${JSON.stringify({ error: message, remedy, exitCode: code })}\n`);
    return;
  }
  const expected = error instanceof CliError || isBerthError(error);
  process.stderr.write(`${expected || !(error instanceof Error) ? message : (error.stack ?? message)}\n`);
  if (remedy !== undefined) process.stderr.write(`  remedy: ${remedy}\n`);
}

async function main(): Promise<void> {
  try {
    await buildProgram().parseAsync(process.argv);
  } catch (error) {
    // Commander has shown its own message; help and version end well.
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? exitCode.converged : exitCode.badInput;
      return;
    }
    report(error);
    process.exitCode = exitCodeOf(error);
  }
}

// A reader that ends early (`berth ps | head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCode.converged);
  throw error;
});
await main();
