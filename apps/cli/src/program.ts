import { Command } from 'commander';
import { addGlobalOptions, chosenContext, terminalOf, withSession } from './command.ts';
import { addCertificateCommands } from './commands/certificate.ts';
import { addClusterCommands } from './commands/cluster.ts';
import { addCompletionCommands } from './commands/completion.ts';
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
import { softwareVersion } from './version.ts';

/** All commands. */
export function buildProgram(): Command {
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
  addCompletionCommands(program);
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
