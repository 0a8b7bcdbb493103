import type { Command } from 'commander';
import { chosenContext, terminalOf } from '../command.ts';
import { Contexts, readContext } from '../context.ts';
import { table } from '../terminal/table.ts';

export function addContextCommands(program: Command): void {
  const context = program.command('context').description('clusters that you can speak to');
  context
    .command('ls')
    .description('list contexts')
    .action((_options: object, command: Command) => {
      const contexts = new Contexts();
      const current = chosenContext(command);
      const rows = contexts.list().map((name) => ({ ...contexts.read(name), current: name === current }));
      terminalOf(command).result(rows, (list) =>
        table(
          ['', 'CONTEXT', 'CLUSTER', 'REGISTRIES'],
          list.map((row) => [row.current ? '*' : '', row.name, row.clusterId, row.registries.join(', ')]),
        ),
      );
    });
  context
    .command('add')
    .description('add a context from a folder that `berth certificate issue --out` has written')
    .argument('<folder>')
    .option('--name <name>', 'name here (default: the one in the folder)')
    .addHelpText('after', '\nExamples:\n  berth context add ./ann')
    .action((folder: string, options: { readonly name?: string }, command: Command) => {
      const { context: carried, credentials } = readContext(folder);
      const name = options.name ?? carried.name;
      new Contexts().add({ ...carried, name }, credentials);
      terminalOf(command).result({ context: name }, (value) => `context ${value.context} written`);
    });
  context
    .command('use')
    .description('choose a context')
    .argument('<context>')
    .action((name: string, _options: object, command: Command) => {
      new Contexts().use(name);
      terminalOf(command).result({ context: name }, () => `context ${name}`);
    });
  context
    .command('rm')
    .description('forget a context with its certificate')
    .argument('<context>')
    .action((name: string, _options: object, command: Command) => {
      new Contexts().remove(name);
      terminalOf(command).result({ removed: name }, () => `context ${name} removed`);
    });
}
