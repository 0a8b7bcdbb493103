import type { Command } from 'commander';
import { withSession } from '../command.ts';
import { hostnames } from '../hostnames.ts';
import { shownName, stateText } from './list.ts';

export function addTaskCommands(program: Command): void {
  program
    .command('why')
    .description('say why a task is where it is, or why it waits')
    .argument('<task>', 'id, beginning of an id, or name: stack_service.slot')
    .addHelpText('after', '\nExamples:\n  berth why guestbook_web.1')
    .action(async (task: string, _options: object, command: Command) =>
      withSession(command, async (session, terminal) => {
        const answer = await session.control.explainTask({ task });
        const hostnameOf = await hostnames(session);
        terminal.result(answer, ({ task: view, reasons, pending }) => {
          const filters = (pending?.filters ?? []).map(
            (filter) =>
              `  ${filter.filter}: ${filter.nodes} of ${pending?.nodes ?? 0} node(s)${filter.detail ? `; ${filter.detail}` : ''}`,
          );
          const head = view ? `${view.task?.stack}_${shownName(view, hostnameOf)}: ${stateText(view, terminal)}` : task;
          return [head, ...reasons, ...filters].join('\n');
        });
      }),
    );
}
