#!/usr/bin/env node
import { isBerthError } from '@berth/kernel';
import { Command, CommanderError } from 'commander';
import { addGlobalOptions, asksForJson, chosenContext, terminalOf, withSession } from './command.ts';
import { addCertificateCommands } from './commands/certificate.ts';
import { addClusterCommands } from './commands/cluster.ts';
import { addContextCommands } from './commands/context.ts';
import { addEventsCommand } from './commands/events.ts';
import { addExecCommand } from './commands/exec.ts';
import { addImageCommands } from './commands/image.ts';
import { addInspectCommand } from './commands/inspect.ts';
import { addListCommands } from './commands/list.ts';
import { addLogsCommand } from './commands/logs.ts';
import { addNodeCommands } from './commands/node.ts';
import { addStackCommands } from './commands/stack.ts';
import { addStatsCommand } from './commands/stats.ts';
import { addTaskCommands } from './commands/tasks.ts';
import { CliError, exitCode, exitCodeOf } from './exit-code.ts';
import { softwareVersion } from './version.ts';

function buildProgram(): Command {
  const program = new Command('berth')
    .description('Runs containers on a cluster of Docker hosts, from the Compose files you already have.')
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError('(see --help)');
  addStackCommands(program);
  addListCommands(program);
  addTaskCommands(program);
  addInspectCommand(program);
  addLogsCommand(program);
  addExecCommand(program);
  addStatsCommand(program);
  addImageCommands(program);
  addNodeCommands(program);
  addEventsCommand(program);
  addClusterCommands(program);
  addCertificateCommands(program);
  addContextCommands(program);
  program
    .command('version')
    .description("show the versions of this program and of the cluster's members")
    .action(version);
  addGlobalOptions(program);
  return program;
}

async function version(_options: object, command: Command): Promise<void> {
  if (chosenContext(command) === undefined) {
    terminalOf(command).result({ client: softwareVersion }, (value) => `berth ${value.client}`);
    return;
  }
  await withSession(command, async ({ members }, terminal) => {
    const versions = members.map(({ identity, address, version: of }) => ({ identity, address, version: of }));
    terminal.result({ client: softwareVersion, members: versions }, (value) =>
      [`berth ${value.client}`, ...value.members.map((member) => `  ${member.identity} ${member.version || '-'}`)].join(
        '\n',
      ),
    );
  });
}

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
